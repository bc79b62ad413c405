//! Rows of a model in a file: the same model and the same paths.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::unix::fs::FileExt as _;

use agenttrace_model::{Builder, ScratchFile};
use agenttrace_parse::{Input, ReadOptions};

use crate::support::{Analysis, analyze_by, fixtures};

struct Temporary(File);

impl ScratchFile for Temporary {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(bytes, offset)
    }
    fn map(&self) -> io::Result<&'static [u8]> {
        let (mut file, mut bytes) = (&self.0, Vec::new());
        file.rewind()?;
        file.read_to_end(&mut bytes)?;
        // A map begins at a page: so does what follows the first boundary in here.
        bytes.resize(bytes.len() + 2 * PAGE, 0);
        let bytes = Vec::leak(bytes);
        let from = bytes.as_ptr().align_offset(PAGE);
        bytes.rotate_right(from);
        Ok(&bytes[from..])
    }
}

const PAGE: usize = 4096;

#[test]
fn rows_in_a_file_change_neither_model_nor_paths() {
    let all = ["recorded", "crafted"].into_iter().flat_map(fixtures).filter(|f| !f.is_large());
    let mut written = 0;
    for fixture in all {
        let bytes = fixture.bytes();
        let input = Input { main: &bytes, parts: Vec::new() };
        let analyze = |builder: &dyn Fn(Builder) -> Builder| -> Analysis {
            let new = |info: &_| builder(Builder::new(info));
            analyze_by(new, &input, &ReadOptions::default(), fixture.step_bytes().as_deref())
                .unwrap_or_else(|e| panic!("{}: {e}", fixture.name))
        };
        let file = tempfile::tempfile().expect("a temporary file");
        let with = analyze(&|builder| {
            // From the start, and then after every chunk of events.
            let file = file.try_clone().expect("one more handle");
            builder.with_scratch(Box::new(Temporary(file)), 1)
        });
        let without = analyze(&|builder| builder);
        assert_eq!(with.model.tasks.len(), without.model.tasks.len(), "{}", fixture.name);
        for (a, b) in with.model.tasks.iter().zip(&without.model.tasks) {
            assert!(a.ops.iter().eq(b.ops.iter()), "{}: operations of {}", fixture.name, a.tid.0);
            assert!(a.states.iter().eq(b.states.iter()), "{}: states of {}", fixture.name, a.tid.0);
            let events = format!("{:?}", b.recorded);
            assert_eq!(format!("{:?}", a.recorded), events, "{}: {}", fixture.name, a.tid.0);
        }
        assert!(with.model.wakes.iter().eq(without.model.wakes.iter()), "{}: wakes", fixture.name);
        assert_eq!(format!("{:?}", with.paths), format!("{:?}", without.paths), "{}", fixture.name);
        written += file.metadata().map_or(0, |meta| meta.len());
    }
    assert!(written > 0, "some fixture is large enough");
}

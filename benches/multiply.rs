//! A perf.data and its steps to larger ones, which repeat them in time.
//!
//! ```sh
//! cargo bench --bench multiply -- perf.data steps.jsonl 4G OUT_DIR
//! ```
//! So growth can be measured without recording, and without root. The input is read into
//! memory; what is written is not kept there, however much it is.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::process::ExitCode;

use agenttrace_parse::{Repeat, Unpacked};

fn main() -> ExitCode {
    // `cargo bench` adds `--bench`.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let [capture, steps, size, out] = &args[..] else {
        eprintln!("usage: cargo bench --bench multiply -- perf.data steps.jsonl SIZE OUT_DIR");
        // All benchmarks at once have nothing to multiply.
        return if args.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) };
    };
    match multiply(Path::new(capture), Path::new(steps), size, Path::new(out)) {
        Ok(said) => {
            eprintln!("{said}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("multiply: {error}");
            ExitCode::from(2)
        }
    }
}

fn multiply(
    capture: &Path,
    steps: &Path,
    size: &str,
    out: &Path,
) -> Result<String, Box<dyn std::error::Error>> {
    let size = bytes(size).ok_or("SIZE is a number of bytes, perhaps with K, M or G behind it")?;
    let (capture, steps) = (std::fs::read(capture)?, std::fs::read(steps)?);
    let unpacked = Unpacked::of(&capture)?;
    let repeat = Repeat::of(&unpacked, &steps)?;
    let times = repeat.times_for(size);
    std::fs::create_dir_all(out)?;
    let create = |name: &str| File::create(out.join(name)).map(BufWriter::new);
    let mut file = create("perf.data")?;
    repeat.write(times, &mut file)?;
    file.flush()?;
    let mut file = create("steps.jsonl")?;
    repeat.write_steps(times, &mut file)?;
    file.flush()?;
    let len = out.join("perf.data").metadata()?.len();
    Ok(format!("{times} times, each {} ns later: {len} bytes", repeat.later().0))
}

/// `300M` and the like.
fn bytes(text: &str) -> Option<u64> {
    let (number, shift) = match text.strip_suffix(['K', 'M', 'G']) {
        Some(number) if text.ends_with('K') => (number, 10),
        Some(number) if text.ends_with('M') => (number, 20),
        Some(number) => (number, 30),
        None => (text, 0),
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

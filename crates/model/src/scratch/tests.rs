//! Rows in memory, in a file that works, and in files that fail at one moment or another.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use super::*;

/// A file in memory, of limited size, and unreadable on demand.
struct Memory {
    bytes: Mutex<Vec<u8>>,
    limit: usize,
    unreadable: AtomicBool,
    no_map: bool,
}

impl Memory {
    fn new(limit: usize, no_map: bool) -> Arc<Self> {
        let (bytes, unreadable) = (Mutex::new(Vec::new()), AtomicBool::new(false));
        Arc::new(Self { bytes, limit, unreadable, no_map })
    }
}

impl ScratchFile for Arc<Memory> {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let (mut file, from) = (self.bytes.lock().unwrap(), offset as usize);
        let to = from + bytes.len();
        if to > self.limit {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if file.len() < to {
            file.resize(to, 0);
        }
        file[from..to].copy_from_slice(bytes);
        Ok(())
    }
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        if self.unreadable.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let (file, from) = (self.bytes.lock().unwrap(), offset as usize);
        let written = file.get(from..from + bytes.len());
        bytes.copy_from_slice(written.unwrap_or_default());
        Ok(())
    }
    fn map(&self) -> io::Result<&'static [u8]> {
        if self.no_map {
            return Err(io::ErrorKind::Unsupported.into());
        }
        // Aligned as a map is.
        let file = self.bytes.lock().unwrap();
        let words: Vec<u64> = file
            .chunks(8)
            .map(|chunk| {
                let mut word = [0; 8];
                word[..chunk.len()].copy_from_slice(chunk);
                u64::from_ne_bytes(word)
            })
            .collect();
        Ok(bytemuck::cast_slice(Vec::leak(words)))
    }
}

/// More than a first room holds, and than is worth a write.
const MANY: u64 = 200_000;

/// Pushes numbers, moves them to the file now and then, changes one that is there already.
fn grown(file: &Arc<Memory>) -> (Rows<u64>, Rows<u8>, io::Result<()>) {
    let scratch = Scratch::new(Box::new(Arc::clone(file)));
    let (mut numbers, mut bytes) = (Rows::default(), Rows::default());
    let mut spilled = Ok(());
    for n in 0..MANY {
        numbers.push(n);
        bytes.push(n as u8);
        if n % 10_000 == 9_999 && spilled.is_ok() {
            spilled = numbers.spill(&scratch).and_then(|()| bytes.spill(&scratch));
        }
    }
    numbers.replace(7, 7_000_000);
    numbers.replace(199_999, 1);
    (numbers, bytes, spilled)
}

fn finish(numbers: &mut Rows<u64>, bytes: &mut Rows<u8>) -> io::Result<()> {
    numbers.close()?;
    bytes.close()?;
    numbers.settle()?;
    bytes.settle()
}

fn mapped<T>(rows: &Rows<T>) -> bool {
    rows.place.as_ref().is_some_and(|place| place.mapped.is_some())
}

fn assert_all(numbers: &Rows<u64>, bytes: &Rows<u8>) {
    let expected = |n: u64| match n {
        7 => 7_000_000,
        199_999 => 1,
        n => n,
    };
    assert_eq!(numbers.settled().len(), 200_000);
    assert!(numbers.settled().iter().zip(0..MANY).all(|(row, n)| *row == expected(n)));
    assert_eq!(bytes.settled().len(), 200_000);
    assert!(bytes.settled().iter().zip(0..MANY).all(|(row, n)| *row == n as u8));
}

#[test]
fn rows_of_a_file_are_those_that_were_pushed_and_changed() {
    let file = Memory::new(usize::MAX, false);
    let (mut numbers, mut bytes, spilled) = grown(&file);
    spilled.unwrap();
    // The last 16 stayed.
    assert_eq!((numbers.settled().len(), numbers.count()), (16, 200_000));
    assert_eq!(numbers.settled()[13..], [199_997, 199_998, 1]);
    assert_eq!((bytes.settled().len(), bytes.count()), (16, 200_000));
    assert_eq!(
        [numbers.read(7), numbers.read(8), numbers.read(199_998)],
        [Some(7_000_000), Some(8), Some(199_998)]
    );
    assert_eq!(numbers.read(200_000), None);
    // 1.6 MB of numbers did not fit into their first room, and moved once.
    assert!(file.bytes.lock().unwrap().len() > 1_600_000 + (1 << 20));
    finish(&mut numbers, &mut bytes).unwrap();
    assert!(mapped(&numbers) && mapped(&bytes));
    assert_all(&numbers, &bytes);
    assert_eq!([numbers.read(7), numbers.read(200_000)], [Some(7_000_000), None]);
}

#[test]
fn rows_in_memory_take_no_more_than_a_vector_and_three_words() {
    assert_eq!(size_of::<Rows<u64>>(), 48);
}

#[test]
fn few_rows_stay_in_memory() {
    let file = Memory::new(usize::MAX, false);
    let scratch = Scratch::new(Box::new(Arc::clone(&file)));
    let mut rows: Rows<u64> = Vec::from_iter(0..143).into();
    rows.spill(&scratch).unwrap();
    assert_eq!((rows.count(), file.bytes.lock().unwrap().len()), (143, 0));
    // 128 rows of 8 bytes are worth a write.
    rows.push(143);
    rows.spill(&scratch).unwrap();
    let last: Vec<u64> = (128..144).collect();
    assert_eq!((rows.settled(), file.bytes.lock().unwrap().len()), (&last[..], 1024));
}

#[test]
fn a_piece_that_is_held_can_be_changed_and_those_before_it_be_read() {
    let file = Memory::new(usize::MAX, false);
    let (mut numbers, mut bytes, _) = grown(&file);
    assert_eq!(numbers.hold(0, 60_000).unwrap(), 60_000);
    numbers.replace(59_999, 5);
    assert_eq!(numbers.hold(60_000, 60_000).unwrap(), 120_000);
    assert_eq!((numbers.settled().len(), numbers.count()), (60_000, 200_000));
    assert_eq!([numbers.read(59_999), numbers.read(60_000)], [Some(5), Some(60_000)]);
    // One behind the piece as well.
    assert_eq!(numbers.read(150_000), Some(150_000));
    numbers.replace(59_998, 6);
    assert_eq!(numbers.hold(120_000, 600_000).unwrap(), 200_000);
    finish(&mut numbers, &mut bytes).unwrap();
    let numbers = numbers.settled();
    assert_eq!(numbers[59_996..60_001], [59_996, 59_997, 6, 5, 60_000]);
    assert_eq!((numbers[7], numbers[150_000], numbers[199_999]), (7_000_000, 150_000, 1));
    assert_eq!(numbers.len(), 200_000);
}

#[test]
fn where_no_space_is_left_all_rows_come_back_into_memory() {
    for limit in [0, 90_000, 1_300_000, 2_000_000] {
        let (mut numbers, mut bytes, spilled) = grown(&Memory::new(limit, false));
        assert_eq!(spilled.unwrap_err().kind(), io::ErrorKind::StorageFull, "{limit}");
        finish(&mut numbers, &mut bytes).unwrap();
        assert_all(&numbers, &bytes);
    }
}

#[test]
fn where_no_space_is_left_for_last_changes_all_rows_come_back_as_well() {
    for (limit, held) in [(0, 200_000), (90_000, 200_000), (2_000_000, 200_000)] {
        let (mut numbers, mut bytes, _) = grown(&Memory::new(limit, false));
        // The first piece is all of them.
        assert_eq!(numbers.hold(0, 60_000).unwrap(), held, "{limit}");
        numbers.replace(8, 80);
        finish(&mut numbers, &mut bytes).unwrap();
        assert_eq!(numbers.settled()[6..10], [6, 7_000_000, 80, 9], "{limit}");
        assert_eq!((numbers.settled().len(), numbers.settled()[199_999]), (200_000, 1));
    }
}

#[test]
fn a_file_that_never_worked_is_not_asked_for_rows() {
    let file = Memory::new(0, true);
    file.unreadable.store(true, Ordering::Relaxed);
    let (mut numbers, mut bytes, spilled) = grown(&file);
    assert_eq!(spilled.unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(numbers.hold(0, 60_000).unwrap(), 200_000);
    finish(&mut numbers, &mut bytes).unwrap();
    assert_all(&numbers, &bytes);
}

#[test]
fn a_file_that_cannot_be_mapped_is_read() {
    let (mut numbers, mut bytes, _) = grown(&Memory::new(usize::MAX, true));
    // From the middle of last changes too.
    numbers.hold(60_000, 60_000).unwrap();
    finish(&mut numbers, &mut bytes).unwrap();
    assert!(!mapped(&numbers));
    assert_all(&numbers, &bytes);
}

#[test]
fn rows_that_cannot_be_had_back_are_an_error() {
    let file = Memory::new(usize::MAX, true);
    let (mut numbers, mut bytes, _) = grown(&file);
    file.unreadable.store(true, Ordering::Relaxed);
    assert_eq!(numbers.read(7), None);
    assert_eq!(finish(&mut numbers, &mut bytes).unwrap_err().kind(), io::ErrorKind::InvalidData);
}

#[test]
fn a_room_grows_in_steps_and_soon_becomes_large() {
    let rooms = |mut rows: Rows<u64>| {
        let mut rooms = Vec::new();
        for number in 0..140_000 {
            rows.push(number);
            let room = rows.memory.capacity();
            if rooms.last() != Some(&room) {
                rooms.push(room);
            }
        }
        assert_eq!((rows.count(), rows.read(132_096)), (140_000, Some(132_096)));
        rooms
    };
    // 1,024 of these are 8 KB: 131,072 more, which are 1 MB.
    assert_eq!(rooms(Rows::default()), [16, 64, 256, 1024, 132_096, 528_384]);
    let mut sparing = Rows::default();
    sparing.spare();
    assert_eq!(rooms(sparing), [16, 64, 256, 1024, 4096, 16_384, 65_536, 262_144]);
}

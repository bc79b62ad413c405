//! Rows of plain data that a model keeps many of: in memory, or for the most part in a scratch file.
//!
//! ```text
//! while they grow   file: 0 .. filed     memory: filed .. count      a look into the file is a read
//! for last changes  file: 0 .. count     memory: first .. , a piece of them
//! settled           all in memory, or all in the map of the file     a slice either way
//! ```
//! A capture of tens of gigabytes has more operations than a laptop has memory for. What the file
//! holds is the kernel's to write out and to drop when memory is needed for something else.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytemuck::Pod;

/// A file that is written and read at offsets, and then mapped. It may have holes; only what
/// was written is read.
pub trait ScratchFile: Send + Sync {
    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// Those of the file: no space is left.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Fills `bytes`.
    ///
    /// # Errors
    /// Those of the file.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;
    /// The whole file, for as long as the program runs. Nothing is written any more.
    ///
    /// # Errors
    /// Those of the system.
    fn map(&self) -> io::Result<&'static [u8]>;
}

/// A scratch file, and how much of it is given away.
pub(crate) struct Scratch {
    file: Box<dyn ScratchFile>,
    next: AtomicU64,
    map: OnceLock<&'static [u8]>,
}

/// Rooms begin at multiples of this, so that rows of any kind are aligned.
const ALIGN: u64 = 4096;

/// The first room of some rows, in bytes; each next one is four times as large. What is not
/// written of it takes no space.
const ROOM: u64 = 1 << 20;

impl Scratch {
    pub(crate) fn new(file: Box<dyn ScratchFile>) -> Arc<Self> {
        Arc::new(Self { file, next: AtomicU64::new(0), map: OnceLock::new() })
    }

    fn reserve(&self, bytes: u64) -> u64 {
        self.next.fetch_add(bytes.next_multiple_of(ALIGN), Ordering::Relaxed)
    }

    /// The file's map, made when it is first asked for.
    fn map(&self) -> io::Result<&'static [u8]> {
        if let Some(map) = self.map.get() {
            return Ok(map);
        }
        // Of two threads that make it at once, one map is used.
        let map = self.file.map()?;
        Ok(self.map.get_or_init(|| map))
    }
}

/// Rows, in the order in which they were pushed.
#[derive(Clone)]
pub(crate) struct Rows<T: 'static> {
    /// Those from `first` on.
    memory: Vec<T>,
    first: usize,
    /// Where the others are.
    place: Option<Box<Place<T>>>,
    /// Most will go to a file: no room is made for many.
    sparing: bool,
}

/// Where in the file some rows are.
#[derive(Clone)]
struct Place<T: 'static> {
    scratch: Arc<Scratch>,
    offset: u64,
    /// Bytes.
    room: u64,
    /// How many rows the file has, as they are or as they were before they were changed in memory.
    filed: usize,
    /// One of them could not be changed there.
    failed: bool,
    /// All of them, once the file is mapped.
    mapped: Option<&'static [T]>,
}

impl<T: Pod> Place<T> {
    fn at(&self, index: usize) -> u64 {
        self.offset.saturating_add((index as u64).saturating_mul(size_of::<T>() as u64))
    }

    fn read(&self, rows: &mut [T], from: usize) -> io::Result<()> {
        self.scratch.file.read_at(bytemuck::cast_slice_mut(rows), self.at(from))
    }

    fn write(&self, rows: &[T], from: usize) -> io::Result<()> {
        self.scratch.file.write_at(bytemuck::cast_slice(rows), self.at(from))
    }

    /// Writes rows from an index on, into a larger place where they need one.
    fn append(&mut self, rows: &[T], from: usize) -> io::Result<()> {
        let end = self.filed.max(from.saturating_add(rows.len()));
        let bytes = |rows: usize| (rows as u64).saturating_mul(size_of::<T>() as u64);
        if bytes(end) > self.room {
            let room = bytes(end).max(self.room.saturating_mul(4)).max(ROOM);
            let to = self.scratch.reserve(room);
            copy(&*self.scratch.file, self.offset, to, bytes(self.filed))?;
            (self.offset, self.room) = (to, room);
        }
        self.write(rows, from)?;
        self.filed = end;
        Ok(())
    }

    /// These rows in the map of their file.
    fn within(&self, map: &'static [u8]) -> Option<&'static [T]> {
        let from = usize::try_from(self.offset).ok()?;
        let bytes = map.get(from..from.checked_add(self.filed.checked_mul(size_of::<T>())?)?)?;
        bytemuck::try_cast_slice(bytes).ok()
    }
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Vec::new().into()
    }
}

impl<T> From<Vec<T>> for Rows<T> {
    fn from(memory: Vec<T>) -> Self {
        Self { memory, first: 0, place: None, sparing: false }
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for Rows<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settled().fmt(f)
    }
}

/// Rows of any kind, on their way to a file.
pub(crate) trait Spill {
    /// Moves all but the last [`KEPT`] rows into the file, where that is worth a write.
    ///
    /// # Errors
    /// Those of the file. The rows are then where they were.
    fn spill(&mut self, scratch: &Arc<Scratch>) -> io::Result<()>;

    /// Most rows will go to a file before there are many in memory.
    fn spare(&mut self);

    /// Nothing is pushed or changed any more: moves the last ones as well, if the others are there.
    ///
    /// # Errors
    /// Those of the file, where rows that it holds cannot be had back.
    fn close(&mut self) -> io::Result<()>;

    /// All rows that share the file are closed: they are a slice from now on, of memory or of
    /// the file's map.
    ///
    /// # Errors
    /// Those of the file, where rows that it holds cannot be had back.
    fn settle(&mut self) -> io::Result<()>;
}

impl<T: Pod> Spill for Rows<T> {
    fn spill(&mut self, scratch: &Arc<Scratch>) -> io::Result<()> {
        let count = self.memory.len().saturating_sub(KEPT);
        if count.saturating_mul(size_of::<T>()) >= WORTH {
            self.first = self.file(scratch, count)?;
            // In a room of their own: the old one's pages are given back, all of them.
            self.memory = self.memory.split_off(count);
        }
        self.spare();
        Ok(())
    }

    fn spare(&mut self) {
        self.sparing = true;
    }

    fn close(&mut self) -> io::Result<()> {
        let Some(place) = &self.place else { return Ok(()) };
        let (scratch, failed) = (Arc::clone(&place.scratch), place.failed);
        match self.file(&scratch, self.memory.len()) {
            Ok(filed) if !failed => {
                (self.memory, self.first) = (Vec::new(), filed);
                Ok(())
            }
            _ => self.restore(),
        }
    }

    fn settle(&mut self) -> io::Result<()> {
        let Some(place) = &mut self.place else { return Ok(()) };
        place.mapped = place.scratch.map().ok().and_then(|map| place.within(map));
        self.first = 0;
        if place.mapped.is_none() { self.restore() } else { Ok(()) }
    }
}

impl<T: Pod> Rows<T> {
    /// All of them, once they are settled; while they grow, those in memory.
    #[inline]
    pub(crate) fn settled(&self) -> &[T] {
        match &self.place {
            Some(place) => place.mapped.unwrap_or(&self.memory),
            None => &self.memory,
        }
    }

    /// How many there are, wherever they are.
    #[inline]
    pub(crate) fn count(&self) -> usize {
        let known = self.first.saturating_add(self.memory.len());
        self.place.as_ref().map_or(known, |place| place.filed.max(known))
    }

    /// One more.
    #[inline]
    pub(crate) fn push(&mut self, row: T) {
        self.make_room();
        self.memory.push(row);
    }

    #[inline(always)]
    fn make_room(&mut self) {
        if self.memory.len() == self.memory.capacity() {
            self.more_room();
        }
    }

    /// Rows that need more room are copied, so it becomes four times as large, and soon large
    /// enough for nearly all tasks: what is not used of it takes no memory.
    #[cold]
    #[inline(never)]
    fn more_room(&mut self) {
        let len = self.memory.len();
        let few = self.sparing || len.saturating_mul(size_of::<T>()) < FEW;
        let least = if few { FIRST_ROOM } else { LARGE_ROOM / size_of::<T>() };
        self.memory.reserve_exact(len.saturating_mul(3).max(least));
    }

    /// The row with this index, wherever it is. `None` as well where the file cannot be read.
    #[inline]
    pub(crate) fn read(&self, index: usize) -> Option<T> {
        match index.checked_sub(self.first).and_then(|at| self.settled().get(at)) {
            Some(row) => Some(*row),
            None => self.read_file(index),
        }
    }

    #[cold]
    fn read_file(&self, index: usize) -> Option<T> {
        let place = self.place.as_ref().filter(|place| index < place.filed)?;
        let mut row = [T::zeroed()];
        place.read(&mut row, index).ok()?;
        row.first().copied()
    }

    /// Takes the last one away, if it is in memory and this holds of it. Only while they grow.
    #[inline]
    pub(crate) fn pop_if(&mut self, unwanted: impl FnOnce(&mut T) -> bool) -> Option<T> {
        self.memory.pop_if(unwanted)
    }

    /// One more, and its index. Only while they grow.
    #[inline(always)]
    pub(crate) fn grow(&mut self, row: T) -> (usize, Option<&mut T>) {
        self.make_room();
        let index = self.first.saturating_add(self.memory.len());
        self.memory.push(row);
        (index, self.memory.last_mut())
    }

    /// The row with this index, if it is in memory: nearly always, while they grow.
    #[inline(always)]
    pub(crate) fn near(&self, index: usize) -> Option<&T> {
        self.memory.get(index.checked_sub(self.first)?)
    }

    /// The row with this index, to be changed, if it is in memory.
    #[inline]
    pub(crate) fn in_memory(&mut self, index: usize) -> Option<&mut T> {
        self.memory.get_mut(index.checked_sub(self.first)?)
    }

    /// Puts another in the place of one, if there is one.
    #[inline]
    pub(crate) fn replace(&mut self, index: usize, row: T) {
        match self.in_memory(index) {
            Some(old) => *old = row,
            None => self.replace_in_file(index, row),
        }
    }

    #[cold]
    fn replace_in_file(&mut self, index: usize, row: T) {
        if let Some(place) = self.place.as_mut().filter(|place| index < place.filed) {
            place.failed |= place.write(&[row], index).is_err();
        }
    }

    /// Has `count` rows from `from` on in memory in place of others, to be changed there; all
    /// rows where the file takes no more. Returns where what is in memory ends.
    ///
    /// # Errors
    /// Those of the file, where rows that it holds cannot be had back.
    pub(crate) fn hold(&mut self, from: usize, count: usize) -> io::Result<usize> {
        let Some(place) = &self.place else { return Ok(self.memory.len()) };
        let scratch = Arc::clone(&place.scratch);
        let Ok(filed) = self.file(&scratch, self.memory.len()) else {
            self.restore()?;
            return Ok(self.memory.len());
        };
        let end = from.saturating_add(count).min(filed);
        self.memory.resize(end.saturating_sub(from), T::zeroed());
        self.first = from;
        self.place.as_ref().map_or(Ok(()), |place| place.read(&mut self.memory, from))?;
        Ok(end)
    }

    /// Writes the first `count` of the rows in memory to their place in the file. Returns how
    /// many the file has.
    fn file(&mut self, scratch: &Arc<Scratch>, count: usize) -> io::Result<usize> {
        let rows = self.memory.get(..count).unwrap_or_default();
        let mut place = self.place.take().unwrap_or_else(|| {
            let scratch = Arc::clone(scratch);
            let (offset, room, filed) = (0, 0, 0);
            Box::new(Place { scratch, offset, room, filed, failed: false, mapped: None })
        });
        let written = place.append(rows, self.first);
        let filed = place.filed;
        // A file that never took any of them is not asked again.
        self.place = (filed > 0).then_some(place);
        written.map(|()| filed)
    }

    /// All rows back into memory.
    fn restore(&mut self) -> io::Result<()> {
        let Some(place) = &self.place else { return Ok(()) };
        if place.failed {
            return Err(io::Error::other("a row could not be written to the temporary file"));
        }
        let mut all = vec![T::zeroed(); place.filed];
        place.read(&mut all, 0)?;
        // What is in memory is newer than what the file has of it.
        let beyond = all.split_off(self.first.min(all.len()));
        let beyond = beyond.into_iter().skip(self.memory.len());
        all.append(&mut self.memory);
        all.extend(beyond);
        *self = all.into();
        Ok(())
    }
}

/// So many of the last rows stay in memory: what is open or changes is among them, nearly always.
const KEPT: usize = 16;

/// Rows in memory have room for so many at first.
const FIRST_ROOM: usize = 16;

/// Rows of fewer bytes than this get a room of little more: the system can only give so many
/// pieces, and of the events that stay in memory no more lists than those become larger.
const FEW: usize = 1 << 13;

/// Bytes of the next larger room. The system gives as much in pages of its own, whose memory is
/// taken when they are used, and which can move to a larger room without being copied. Where they
/// came from the heap, they would leave holes there.
const LARGE_ROOM: usize = 1 << 20;

/// What is less than this is left in memory until there is more.
const WORTH: usize = 1 << 10;

/// Bytes that are copied within a file at a time.
const COPY: usize = 1 << 20;

fn copy(file: &dyn ScratchFile, from: u64, to: u64, bytes: u64) -> io::Result<()> {
    let mut buffer = Vec::new();
    let mut done = 0_u64;
    while done < bytes {
        let step = usize::try_from(bytes - done).unwrap_or(usize::MAX).min(COPY);
        buffer.resize(step, 0);
        file.read_at(&mut buffer, from.saturating_add(done))?;
        file.write_at(&buffer, to.saturating_add(done))?;
        done = done.saturating_add(step as u64);
    }
    Ok(())
}

#[cfg(test)]
mod tests;

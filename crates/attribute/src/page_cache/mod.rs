//! Page-cache events to its history: what left the cache, by whom, and came back.
//!
//! ```text
//! page 7   [added ...... deleted)            [added again
//!                        ^ by whom: eviction  ^ by whom: refault
//!                        |<--- distance ---->|  in time, and in pages added meanwhile
//! ```

mod groups;
mod history;
mod removal;
mod words;

pub(crate) use groups::{Evicted, evicted, group};
pub(crate) use history::{Eviction, History, Refault};
pub(crate) use removal::Removal;
pub(crate) use words::{by, how, in_full, step};

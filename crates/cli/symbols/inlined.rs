//! Addresses to the functions inlined there and their source lines, by blazesym.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::path::{Path, PathBuf};
use std::sync::Once;

use agenttrace_model::stacks::Symbol;
use blazesym::symbolize::source::{Elf, Source};
use blazesym::symbolize::{Builder, CodeInfo, Input, Sym};

use super::demangle::demangle;

/// What debug information tells of an address.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The functions that were inlined, the innermost first.
    pub(super) inlined: Vec<Symbol>,
    /// The function that holds the code.
    pub(super) function: Option<String>,
    /// File and line in it.
    pub(super) source: Option<(String, u32)>,
}

/// Looks up addresses, as the file states them, in a file with debug information. Empty
/// where it cannot be used. `folders` are searched for what the file refers to by build
/// id (`.gnu_debugaltlink`), which blazesym compares.
pub(super) fn look_up(file: &Path, folders: &[PathBuf], addresses: &[u64]) -> Vec<Told> {
    let found = guarded(|| {
        let symbolizer = Builder::default()
            .enable_auto_reload(false)
            .enable_demangling(false)
            .set_debug_dirs(Some(folders))
            .build();
        let source = Source::Elf(Elf::new(file));
        let found = symbolizer.symbolize(&source, Input::VirtOffset(addresses)).ok()?;
        Some(found.iter().map(|one| one.as_sym().map(told).unwrap_or_default()).collect())
    });
    found.flatten().unwrap_or_default()
}

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs a lookup; `None` where it panics, without a word. blazesym believes sizes and
/// offsets that a hostile file states, and its arithmetic is then out of range: such a
/// file is one without debug information. The lookup shares nothing with what comes after.
fn guarded<T>(lookup: impl FnOnce() -> T) -> Option<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = take_hook();
        set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                others(info);
            }
        }));
    });
    GUARDED.set(true);
    let done = catch_unwind(AssertUnwindSafe(lookup));
    GUARDED.set(false);
    done.ok()
}

fn told(symbol: &Sym<'_>) -> Told {
    // blazesym lists the outermost first.
    let inlined = symbol.inlined.iter().rev().map(|function| Symbol {
        name: demangle(function.name.as_bytes()),
        inlined: true,
        source: function.code_info.as_ref().and_then(source),
    });
    Told {
        inlined: inlined.collect(),
        function: (!symbol.name.is_empty()).then(|| demangle(symbol.name.as_bytes())),
        source: symbol.code_info.as_deref().and_then(source),
    }
}

fn source(info: &CodeInfo<'_>) -> Option<(String, u32)> {
    Some((info.to_path().to_string_lossy().into_owned(), info.line?))
}

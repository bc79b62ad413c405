//! One file for each subcommand.

pub(crate) mod analyze;
pub(crate) mod check;
pub(crate) mod context;
pub(crate) mod cut;
pub(crate) mod dump;
pub(crate) mod export;
pub(crate) mod flamegraph;
pub(crate) mod hist;

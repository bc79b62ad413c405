//! Critical paths to wall-time flamegraphs.

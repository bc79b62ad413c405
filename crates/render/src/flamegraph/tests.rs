//! Exact folded lines, and what the pictures must hold.

//! Exact weights from captures made by hand.

//! Texts of a few lines to the events that they must give.

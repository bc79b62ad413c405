//! Events to task timelines, wakeup edges, requests and step windows.

pub use agenttrace_parse as parse;

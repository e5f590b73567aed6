//! Questions about the past, answered from the log alone: trails along the back links, filtered
//! records, and what was valid at an instant. Changes nothing, and never waits for the writer.

pub mod records;
pub mod trail;
pub mod past;
pub mod leak;

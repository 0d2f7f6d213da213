//! What several test files share.

pub mod node;
pub mod raw;

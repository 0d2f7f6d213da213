//! Building blocks without a product's word in them, which every other module may use.

pub mod blocking_io;
pub(crate) mod boot_clock;
pub mod cancel;
pub(crate) mod deadline;
pub mod encoded_text;
pub mod exact_json;
pub mod file_stamp;
pub mod heartbeat;
pub mod hint;
pub mod json_edit;
pub(crate) mod json_scan;
pub(crate) mod list_text;
pub mod memory;
pub mod sealing_keys;
pub mod secret;
pub(crate) mod shorten;
pub mod suggest;
pub mod timestamp;
pub mod trace;
pub(crate) mod tree_size;
pub(crate) mod word_scan;
pub(crate) mod workers;

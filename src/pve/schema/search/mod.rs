//! Finds operations by an administrator's words.
//!
//! Each word of a query is looked up in the words of the operations, together with the API's words for the same thing.
//! Rare words count more than common ones, and a path's last name more than a parameter (BM25F in short). Verbs
//! determine the method, and words such as "vm", "container" and "node" the kind of object.
//!
//! Three other lists come from what users say instead of the API's words: objects with their operations, phrasings of
//! operations, and topics. The places in the four lists decide together. A query that is a path or the name of an
//! operation finds that operation first.

mod index;
mod objects;
mod operation_name;
mod path_query;
mod phrasings;
mod query_word;
mod query_words;
mod ranking;
mod search_query;
mod thesaurus;
mod tokenizer;
mod topics;

pub(super) use index::SearchIndex;
pub(super) use ranking::{find_groups, find_note, find_operations};

//! Loads schemas: the embedded one, and that of a node's description.

use super::error::SchemaError;
use super::facts;
use super::reader;
use super::searchable::Schema;
use flate2::read::GzDecoder;
use std::io::Read;
use std::sync::{Arc, LazyLock};

/// Returns the embedded schema: the operations of Proxmox VE 9, with a summary and the risk of each.
pub fn embedded_schema() -> &'static Arc<Schema> {
    static EMBEDDED: LazyLock<Arc<Schema>> = LazyLock::new(|| {
        let model = reader::read_facts(GzDecoder::new(facts::APIDOC)).expect("the build packs a valid description");
        Arc::new(Schema::new(model))
    });
    &EMBEDDED
}

/// Reads a node's description up to the end of its list of operations.
pub fn read_description(script: impl Read) -> Result<Schema, SchemaError> {
    reader::read_description(script, embedded_schema()).map(Schema::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_facts_are_whole_and_small() {
        let schema = embedded_schema();
        assert_eq!(schema.len(), 661);
        assert!(schema.size_bytes() < 2 << 20, "{} bytes", schema.size_bytes());
        for operation in schema.operations() {
            let name = format!("{} {}", operation.method(), operation.template());
            assert!((5..=70).contains(&operation.summary().len()), "{name}: {:?}", operation.summary());
            assert!(!operation.name().is_empty() && !operation.return_type().is_empty(), "{name}");
            assert!(schema.find_by_template(operation.method(), operation.template()).is_some(), "{name}");
        }
    }

    #[test]
    fn a_live_schema_has_the_embedded_facts() {
        let live = read_description(GzDecoder::new(facts::APIDOC)).unwrap();
        for (live, embedded) in live.operations().zip(embedded_schema().operations()) {
            assert_eq!((live.summary(), live.risk_reason()), (embedded.summary(), embedded.risk_reason()));
            assert_eq!((live.risk(), live.is_live()), (embedded.risk(), true), "{}", live.template());
        }
    }
}

//! Operations as the data files of the search write them: `GET vm/config`, with the beginning of the path shortened.

use crate::pve::method::Method;
use crate::pve::schema::model::SchemaModel;

/// The beginnings of the paths, shortened in the data files.
const PREFIXES: [(&str, &str); 4] = [
    ("vm/", "/nodes/{node}/qemu/{vmid}/"),
    ("ct/", "/nodes/{node}/lxc/{vmid}/"),
    ("st/", "/nodes/{node}/storage/{storage}/"),
    ("node/", "/nodes/{node}/"),
];

/// An operation that a data file names.
pub(super) struct OperationName {
    pub(super) method: Method,
    pub(super) template: String,
}

impl OperationName {
    /// Parses the operations of a column, with `|` between them.
    pub(super) fn parse_all(column: &str) -> Vec<Self> {
        let names = column.split('|').filter(|name| !name.is_empty()).map(|name| {
            let (method, template) = name.split_once(' ').expect("a method and a path");
            let prefix = PREFIXES.iter().find_map(|(short, long)| Some((long, template.strip_prefix(short)?)));
            let template = prefix.map_or(template.to_owned(), |(long, rest)| format!("{long}{rest}"));
            Self { method: Method::from_name(method).expect("a method"), template }
        });
        names.collect()
    }

    /// Returns the index of the operation, if the schema has it.
    pub(super) fn find(&self, model: &SchemaModel) -> Option<usize> {
        model.operations().position(|o| o.method() == self.method && o.template() == self.template)
    }
}

/// Returns the indexes of the operations with the highest scores, the best first, at most `max`. Those that the schema
/// does not have are left out.
pub(super) fn find_best(model: &SchemaModel, mut scored: Vec<(f32, &OperationName)>, max: usize) -> Vec<usize> {
    scored.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let mut found = Vec::new();
    for (_, operation) in scored {
        if found.len() == max {
            break;
        }
        found.extend(operation.find(model).filter(|operation| !found.contains(operation)));
    }
    found
}

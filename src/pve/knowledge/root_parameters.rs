//! Parameters that a node takes from root@pam with a password alone, not even from an API token of that user.

/// Parameters of some operations that no API token may give.
struct RootParameters {
    templates: &'static [&'static str],
    names: &'static [&'static str],
    /// True if the node refuses any value. Otherwise it takes the default, or the value it has.
    refuses_any_value: bool,
}

#[rustfmt::skip]
const ROOT_PARAMETERS: [RootParameters; 5] = [
    RootParameters {
        templates: &["/nodes/{node}/vzdump", "/cluster/backup", "/cluster/backup/{id}"],
        names: &["job-id", "tmpdir", "dumpdir", "script"],
        refuses_any_value: true,
    },
    RootParameters {
        templates: &["/nodes/{node}/qemu/{vmid}/migrate"],
        names: &["force", "migration_type", "migration_network"],
        refuses_any_value: false,
    },
    RootParameters {
        templates: &["/nodes/{node}/qemu", "/nodes/{node}/qemu/{vmid}/config"],
        names: &["args", "hookscript", "lock"],
        refuses_any_value: false,
    },
    RootParameters {
        templates: &["/nodes/{node}/lxc", "/nodes/{node}/lxc/{vmid}/config"],
        names: &["hookscript"],
        refuses_any_value: false,
    },
    RootParameters {
        templates: &[
            "/nodes/{node}/qemu/{vmid}", "/nodes/{node}/qemu/{vmid}/config", "/nodes/{node}/qemu/{vmid}/resize",
            "/nodes/{node}/qemu/{vmid}/sendkey", "/nodes/{node}/qemu/{vmid}/status/reset",
            "/nodes/{node}/qemu/{vmid}/status/resume", "/nodes/{node}/qemu/{vmid}/status/shutdown",
            "/nodes/{node}/qemu/{vmid}/status/start", "/nodes/{node}/qemu/{vmid}/status/stop",
            "/nodes/{node}/qemu/{vmid}/status/suspend", "/nodes/{node}/lxc/{vmid}/status/start",
            "/nodes/{node}/lxc/{vmid}/status/stop",
        ],
        names: &["skiplock"],
        refuses_any_value: false,
    },
];

fn find_rows(template: &str, name: &str) -> impl Iterator<Item = &'static RootParameters> {
    ROOT_PARAMETERS.iter().filter(move |row| row.templates.contains(&template) && row.names.contains(&name))
}

/// Returns whether root@pam alone may give the parameter of the operation, with a password.
pub(crate) fn needs_root(template: &str, name: &str) -> bool {
    find_rows(template, name).next().is_some()
}

/// Returns whether a node refuses the parameter with any value from any API token.
pub(in crate::pve) fn refuses_tokens(template: &str, name: &str) -> bool {
    find_rows(template, name).any(|row| row.refuses_any_value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pve::schema::embedded_schema;

    #[test]
    fn every_row_names_operations_and_parameters_that_exist() {
        let operations: Vec<_> = embedded_schema().operations().collect();
        for row in &ROOT_PARAMETERS {
            for template in row.templates {
                let has_any = operations
                    .iter()
                    .filter(|operation| operation.template() == *template)
                    .any(|operation| row.names.iter().any(|name| operation.parameter(name).is_some()));
                assert!(has_any, "{template}");
            }
        }
    }
}

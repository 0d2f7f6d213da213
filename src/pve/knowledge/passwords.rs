//! The parameters that Proxmox's API description calls a password or another secret.

use crate::sanitize;

/// Parameters that may hold a secret, although Proxmox does not call them so. A person who confirms a call sees them:
/// they may as well hold a command, or the address that data leaves for.
const SHOWN: [&str; 12] = [
    "challenge",
    "code",
    "content",
    "data",
    "env",
    "header",
    "http_proxy",
    "input-data",
    "keys",
    "otel-headers",
    "tfa-challenge",
    "value",
];

/// The part of a parameter's value that is a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretPart {
    None,
    Whole,
    /// The value of this key of a property string.
    Key(&'static str),
}

/// Returns the part of a parameter that the description of the operation calls a secret. `template` is the path of the
/// operation with placeholders.
pub fn secret_part(template: &str, name: &str) -> SecretPart {
    match name {
        // The API token of the other cluster, beside its address.
        "target-endpoint" => SecretPart::Key("apitoken"),
        // Of a DNS server and of a certificate. Elsewhere it is a key to press, or the key of a subscription.
        "key" if template.starts_with("/cluster/sdn/dns") || template.ends_with("/certificates/custom") => {
            SecretPart::Whole
        }
        "key" => SecretPart::None,
        _ if SHOWN.contains(&name) || !sanitize::is_secret_parameter(name) => SecretPart::None,
        _ => SecretPart::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pve::schema::embedded_schema;

    #[test]
    fn these_parameters_of_the_api_are_passwords() {
        let mut found: Vec<&str> = embedded_schema()
            .operations()
            .flat_map(|operation| operation.parameters().map(move |parameter| (operation, parameter)))
            .filter(|(operation, parameter)| secret_part(operation.template(), parameter.name()) != SecretPart::None)
            .map(|(_, parameter)| parameter.name())
            .collect();
        found.sort_unstable();
        found.dedup();
        assert_eq!(
            found.join(" "),
            "cipassword client-key confirmation-password eab-hmac-key encryption-key key keyring otp password secret \
             target-endpoint ticket token totp vncticket"
        );
    }

    #[test]
    fn a_key_is_a_password_by_its_operation() {
        assert_eq!(secret_part("/cluster/sdn/dns/{dns}", "key"), SecretPart::Whole);
        assert_eq!(secret_part("/nodes/{node}/certificates/custom", "key"), SecretPart::Whole);
        assert_eq!(secret_part("/nodes/{node}/qemu/{vmid}/sendkey", "key"), SecretPart::None);
    }
}

//! The policy of a cluster in clusters.json.

use super::entry_reader::{ACCESS_VALUES, EntryReader, parse_choice};
use super::errors::FieldError;
use super::ordered_json::OrderedJson;
use crate::policy::{
    AccessLevel, ClientRules, ClusterPolicy, ConfirmationPolicy, Confirmer, GuestSelector, OperationPattern,
    Permissions,
};

const CONFIRM_VALUES: &str = r#""destructive", "writes" or "never""#;
const CONFIRM_BY_VALUES: &str = r#""client" or "operator""#;
const OPERATION_FORM: &str = "such as \"DELETE /nodes/*/qemu/*\"";
const GUEST_FORM: &str = "a guest's number, \"pool:NAME\" or \"tag:NAME\"";

impl EntryReader<'_> {
    /// Reads `access`, `exec`, `confirm`, `confirm_by`, `deny`, `allow` and `protect`. Returns `None` if one of them is invalid, so that
    /// no rule is dropped silently.
    pub(super) fn read_policy(&mut self) -> Option<ClusterPolicy> {
        let defaults = ClusterPolicy::default();
        let has_access = self.has("access");
        let access =
            self.read_text("access", ACCESS_VALUES, |text| parse_choice(text, ACCESS_VALUES, &AccessLevel::WORDS));
        let access = if has_access { access } else { Some(defaults.permissions.access) };
        let permissions = self.read_exec(access);
        let rules = self.read_rules(defaults.confirm);
        let ClientRules { confirm, confirm_by, deny, allow, protect } = rules?;
        Some(ClusterPolicy { permissions: permissions?, confirm, confirm_by, deny, allow, protect })
    }

    /// Reads `exec`. It is an error beside an access that it adds nothing to.
    pub(super) fn read_exec(&mut self, access: Option<AccessLevel>) -> Option<Permissions> {
        let exec = self.read_bool("exec", false)?;
        let access = access?;
        if exec && access < AccessLevel::Full {
            self.add_error("exec", FieldError::ExecWithoutFull { access });
            return None;
        }
        Some(Permissions { access, exec })
    }

    /// Reads `confirm`, `confirm_by`, `deny`, `allow` and `protect`. Returns `None` if one of them is invalid.
    pub(super) fn read_rules(&mut self, default_confirm: ConfirmationPolicy) -> Option<ClientRules> {
        let has_confirm = self.has("confirm");
        let confirm = self.read_text("confirm", CONFIRM_VALUES, |text| {
            parse_choice(text, CONFIRM_VALUES, &ConfirmationPolicy::WORDS)
        });
        let has_confirm_by = self.has("confirm_by");
        let confirm_by = self.read_text("confirm_by", CONFIRM_BY_VALUES, |text| {
            parse_choice(text, CONFIRM_BY_VALUES, &Confirmer::WORDS)
        });
        let parse_operation =
            |text: &str| OperationPattern::parse(text).map_err(|error| FieldError::Policy(error.to_string()));
        let parse_guests =
            |text: &str| GuestSelector::parse(text).map_err(|error| FieldError::Policy(error.to_string()));
        let deny = self.read_optional_list("deny", OPERATION_FORM, parse_operation);
        let has_allow = self.has("allow");
        let allow = self.read_optional_list("allow", OPERATION_FORM, parse_operation);
        let protect = self.read_optional_list("protect", GUEST_FORM, parse_guests);
        Some(ClientRules {
            confirm: if has_confirm { confirm? } else { default_confirm },
            confirm_by: if has_confirm_by { confirm_by? } else { Confirmer::Client },
            deny: deny?,
            allow: if has_allow { Some(allow?) } else { None },
            protect: protect?,
        })
    }

    /// Reads a list that is empty by default. Its items may be numbers without quotes.
    fn read_optional_list<T: PartialEq>(
        &mut self,
        field: &str,
        form: &str,
        parse: impl Fn(&str) -> Result<T, FieldError>,
    ) -> Option<Vec<T>> {
        match self.take(field) {
            None => Some(Vec::new()),
            Some(OrderedJson::List(list)) => {
                let quote = |item| match item {
                    OrderedJson::Number(number) => OrderedJson::String(number.to_string()),
                    other => other,
                };
                self.read_items(field, form, list.into_iter().map(quote).collect(), parse)
            }
            Some(other) => {
                self.add_error(field, FieldError::wrong_kind(&other, format!("a list, each {form}")));
                None
            }
        }
    }
}

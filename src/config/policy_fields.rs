//! What may be done on a cluster, as its entry in clusters.json says it.

use super::entry_reader::{ACCESS_VALUES, EntryReader, parse_choice};
use super::ordered_json::OrderedJson;
use crate::policy::{AccessLevel, ClusterPolicy, ConfirmationPolicy, GuestSelector, OperationPattern, Permissions};

const CONFIRM_VALUES: &str = r#""destructive", "writes" or "never""#;
const OPERATION_FORM: &str = "such as \"DELETE /nodes/*/qemu/*\"";
const GUEST_FORM: &str = "a guest's number, \"pool:NAME\" or \"tag:NAME\"";

impl EntryReader<'_> {
    /// The fields `access`, `exec`, `confirm`, `deny`, `allow` and `protect`. `None` where something is wrong with any of
    /// them: a rule that can't be read is not one less.
    pub(super) fn read_policy(&mut self) -> Option<ClusterPolicy> {
        let defaults = ClusterPolicy::default();
        let (has_access, has_confirm) = (self.has("access"), self.has("confirm"));
        let access =
            self.read_text("access", ACCESS_VALUES, |text| parse_choice(&AccessLevel::WORDS, ACCESS_VALUES, text));
        let confirm = self.read_text("confirm", CONFIRM_VALUES, |text| {
            parse_choice(&ConfirmationPolicy::WORDS, CONFIRM_VALUES, text)
        });
        let exec = self.read_bool("exec");
        let parse_operation = |text: &str| OperationPattern::parse(text).map_err(|error| error.to_string());
        let deny = self.read_optional_list("deny", OPERATION_FORM, parse_operation);
        let has_allow = self.has("allow");
        let allow = self.read_optional_list("allow", OPERATION_FORM, parse_operation);
        let parse_guests = |text: &str| GuestSelector::parse(text).map_err(|error| error.to_string());
        let protect = self.read_optional_list("protect", GUEST_FORM, parse_guests);
        Some(ClusterPolicy {
            permissions: Permissions {
                access: if has_access { access? } else { defaults.permissions.access },
                exec: exec?,
            },
            confirm: if has_confirm { confirm? } else { defaults.confirm },
            deny: deny?,
            allow: if has_allow { Some(allow?) } else { None },
            protect: protect?,
        })
    }

    /// A list that may be absent, which is an empty one. Numbers may stand without quotes.
    fn read_optional_list<T: PartialEq>(
        &mut self,
        field: &str,
        form: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        match self.take(field) {
            None => Some(Vec::new()),
            Some(OrderedJson::List(list)) => {
                let quoted = |item| match item {
                    OrderedJson::Number(number) => OrderedJson::String(number.to_string()),
                    other => other,
                };
                self.read_list(field, form, list.into_iter().map(quoted).collect(), parse)
            }
            Some(other) => {
                self.add_error(field, format!("is {}: write a list, each {form}", other.kind()));
                None
            }
        }
    }
}

//! What may be done on a cluster, as its entry in clusters.json says it.

use super::fields::{ACCESS, Entry, one_of};
use super::json::Json;
use crate::policy::{Access, Confirm, Pattern, Protected, Rights, Rules};

const CONFIRM: &str = r#""destructive", "writes" or "never""#;
const OPERATION: &str = "such as \"DELETE /nodes/*/qemu/*\"";
const GUESTS: &str = "a guest's number, \"pool:NAME\" or \"tag:NAME\"";

impl Entry<'_> {
    /// The fields `access`, `exec`, `confirm`, `deny`, `allow` and `protect`. `None` where something is wrong with any of
    /// them: a rule that can't be read is not one less.
    pub(super) fn rules(&mut self) -> Option<Rules> {
        let usual = Rules::default();
        let (has_access, has_confirm) = (self.has("access"), self.has("confirm"));
        let access = self.text("access", ACCESS, |text| one_of(&Access::WORDS, ACCESS, text));
        let confirm = self.text("confirm", CONFIRM, |text| one_of(&Confirm::WORDS, CONFIRM, text));
        let exec = self.flag("exec");
        let deny = self.some("deny", OPERATION, Pattern::parse);
        let has_allow = self.has("allow");
        let allow = self.some("allow", OPERATION, Pattern::parse);
        let protect = self.some("protect", GUESTS, Protected::parse);
        Some(Rules {
            rights: Rights { access: if has_access { access? } else { usual.rights.access }, exec: exec? },
            confirm: if has_confirm { confirm? } else { usual.confirm },
            deny: deny?,
            allow: if has_allow { Some(allow?) } else { None },
            protect: protect?,
        })
    }

    /// A list that may be absent, which is an empty one. Numbers may stand without quotes.
    fn some<T: PartialEq>(
        &mut self,
        field: &str,
        form: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        match self.take(field) {
            None => Some(Vec::new()),
            Some(Json::List(list)) => {
                let quoted = |item| match item {
                    Json::Number(number) => Json::Text(number.to_string()),
                    other => other,
                };
                self.list(field, form, list.into_iter().map(quoted).collect(), read)
            }
            Some(other) => {
                self.wrong(field, format!("is {}: write a list, each {form}", other.kind()));
                None
            }
        }
    }
}

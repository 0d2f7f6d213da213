//! The reasons why a call can't be planned.

use super::denied_call::DeniedCall;
use super::lookup_error::LookupError;
use crate::base::hint::Hint;
use crate::base::shorten::join_names;
use crate::pve::Method;
use crate::pve::guests::FindGuestError;
use crate::pve::knowledge::formats::find_form;
use crate::pve::parameter_error::ParameterErrors;
use crate::pve::path::PathError;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// The reason why a call can't be planned. Only look-ups were sent.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error("the path starts with {leading}, but the method is {method}")]
    ContradictoryMethod { leading: Method, method: Method },
    #[error(transparent)]
    InvalidPath(#[from] PathError),
    #[error(transparent)]
    Denied(#[from] DeniedCall),
    #[error("`{0}` is a placeholder: put a name or number in its place")]
    Placeholder(String),
    #[error(transparent)]
    Guest(#[from] GuestError),
    /// A parameter that names a guest.
    #[error("`{parameter}`: {error}")]
    GuestParameter { parameter: String, error: GuestError },
    #[error("the node is missing in the path, and the list of nodes can't be read: {0}")]
    NodeLookup(Arc<LookupError>),
    #[error("the node is missing in the path, and the token sees no node")]
    NoVisibleNode,
    #[error("which node? Put one of {} in the place of {{node}}", join_names(.0))]
    SeveralNodes(Vec<String>),
    #[error("the cluster reports a node name that no node can have")]
    InvalidNodeName,
    /// A node resolves such a name as that of a host, at a name server that its domain decides.
    #[error("`{0}` is no name of a node, and a node would ask name servers for it")]
    HostName(String),
    /// A path of a node that the cluster does not have.
    #[error("the cluster has no node `{typed}`{}", match right {
        Some(name) => format!(": its name is `{name}`, and names are exact"),
        None => format!(", only {}", nodes.join(", ")),
    })]
    UnknownNode {
        typed: String,
        /// The node that the caller means, by its case or without its domain.
        right: Option<String>,
        /// A node with a similar name.
        suggestion: Option<String>,
        nodes: Vec<String>,
    },
    /// A node resolves an unknown name as that of a host.
    #[error("`{typed}` can't be checked, since the list of nodes can't be read: {error}")]
    UncheckedNode { typed: String, error: Arc<LookupError> },
    /// A text for a file that this version of Proxmox would store wrongly.
    #[error(
        "`content` has characters beyond ASCII, which this version of Proxmox stores wrongly: write ASCII only, or \
         write the file in the guest by another way (such as exec with base64)"
    )]
    UnwritableContent,
    #[error("`{0}` is given twice, in the path's query and beside the path: give it once")]
    DuplicateParameter(String),
    #[error("{count} parameters are more than any operation has: give {limit} at most")]
    TooManyParameters { count: usize, limit: usize },
    #[error("the parameters have {bytes} bytes, more than any node accepts: give {limit} at most")]
    ParametersTooLarge { bytes: usize, limit: usize },
    #[error("`{parameter}` is longer than the audit log can record whole: give {limit} bytes at most")]
    CommandTooLong { parameter: String, limit: usize },
    /// The guest agent would look for a program of this name.
    #[error("`command` is one text with blanks, `{command}`, and the guest agent takes it as the name of one program")]
    CommandLine { command: String },
    #[error("`{parameter}` has a time that no day has: {schedule}")]
    ImpossibleTime { parameter: String, schedule: String },
    /// An operation that the cluster of `--demo` does not have.
    #[error("the demo simulates only a part of the API, without {0}")]
    NotSimulated(String),
    /// A backup of which each guest is on another node.
    #[error("{}, and a backup on {node} leaves out the guests of other nodes", join_names(.guests))]
    BackupElsewhere {
        /// Each as `106 is on pve2`.
        guests: Vec<String>,
        node: String,
    },
    #[error("`ostemplate` {0} is a backup, no template")]
    BackupAsTemplate(String),
    #[error(transparent)]
    UnknownPath(UnknownPath),
    #[error(transparent)]
    UnknownMethod(UnknownMethod),
    #[error("{problems}{}", missing_method_text(.other_methods))]
    InvalidParameters {
        problems: ParameterErrors,
        /// The other methods of the path, where no method was given.
        other_methods: Vec<Method>,
    },
    /// Parameters of an operation that has no description.
    #[error("{0}")]
    UnsendableParameters(ParameterErrors),
    /// A change relative to a present value that can't be read.
    #[error("`{parameter}` can't be read, so nothing can be added to it or removed from it: {error}")]
    UnreadableValue { parameter: String, error: Box<LookupError> },
    #[error("`{0}` has no number now that something can be added to")]
    NoPresentNumber(String),
    #[error("`{0}` is 0 now, which is no amount that something can be added to")]
    ZeroIsNoAmount(String),
    #[error("`{parameter}` would be {sum}, and must be at least {minimum}")]
    NumberTooSmall { parameter: String, sum: String, minimum: String },
    /// A change of options that sets and unsets none.
    #[error("nothing to change: the call has no option")]
    NothingToChange,
    /// A correction of a call that can't be undone: the caller may mean another guest.
    #[error("{correction}, and a call that can't be undone easily is not corrected: write {operation}")]
    UnsafeCorrection { correction: String, operation: String },
}

/// A path that leaves the API.
#[derive(Debug, thiserror::Error)]
pub struct UnknownPath {
    /// The known part of the path.
    pub known: Box<str>,
    /// The first unknown segment. `None` if the path ends before an operation.
    pub segment: Option<Box<str>>,
    pub suggestion: Option<String>,
    pub alternatives: Vec<String>,
    /// A newer release of Proxmox VE has the path.
    pub is_newer: bool,
    /// The paths that the caller may mean, below a node or the cluster, joined.
    pub elsewhere: Option<Box<str>>,
}

/// A method that a path does not have.
#[derive(Debug, thiserror::Error)]
pub struct UnknownMethod {
    pub path: String,
    pub method: Method,
    /// The methods of the path with their summaries.
    pub available: Vec<String>,
    /// The names one step below the path, where a change was asked for.
    pub children: Vec<String>,
}

/// The reason why a guest is not found.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    #[error("the guest can't be looked up: {0}")]
    Lookup(Arc<LookupError>),
    #[error(transparent)]
    NotFound(FindGuestError),
    #[error("the API token may not see on which node guest {0} is: it needs VM.Audit on /vms")]
    HiddenNode(String),
    /// The list of guests lags behind a rename.
    #[error(
        "the list of guests says that {id} is `{name}`, but its own config {}",
        match actual {
            Some(actual) => format!("says `{actual}`: it was renamed, and the list lags some seconds behind"),
            None => "has no name".to_owned(),
        }
    )]
    Renamed { id: String, name: String, actual: Option<String> },
    /// No error: the answer of the node is no config.
    #[error("the name `{name}` can't be confirmed by the config of {id}: {}", match error {
        Some(error) => error.to_string(),
        None => "the answer of the node is not a config".to_owned(),
    })]
    UnconfirmedName { id: String, name: String, error: Option<Arc<LookupError>> },
    /// The name is that of a guest of the other kind.
    #[error("`{typed}` is `{id}` for HA")]
    OtherResource { typed: String, id: String },
    /// Each name costs a read.
    #[error("more than {max} guests are given by name")]
    TooManyNames { max: usize },
}

impl PlanError {
    /// Returns whether the text of the error already says that nothing was sent.
    pub(super) fn says_nothing_was_sent(&self) -> bool {
        match self {
            Self::Guest(GuestError::Lookup(error))
            | Self::GuestParameter { error: GuestError::Lookup(error), .. }
            | Self::UncheckedNode { error, .. }
            | Self::NodeLookup(error) => error.says_nothing_was_sent(),
            Self::UnreadableValue { error, .. } => error.says_nothing_was_sent(),
            _ => false,
        }
    }
}

impl Hint for PlanError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Denied(denied) => denied.hint(),
            Self::InvalidPath(error) => error.hint(),
            Self::Guest(error) | Self::GuestParameter { error, .. } => error.hint(),
            Self::NodeLookup(error) | Self::UncheckedNode { error, .. } => error.hint(),
            Self::UnreadableValue { .. } => Some("write the whole value".into()),
            Self::NothingToChange => Some("give the options in data; describe_api shows them".into()),
            Self::NoPresentNumber(_) | Self::ZeroIsNoAmount(_) => Some("write the number without a sign".into()),
            Self::UnknownPath(path) if path.is_command_in_container() => Some(
                "containers have no exec in the API: `pct exec` on the node's shell works, or SSH into the container"
                    .into(),
            ),
            Self::UnknownNode { right: None, suggestion: Some(name), .. } => {
                Some(format!("did you mean `{name}`?").into())
            }
            Self::CommandLine { .. } => Some(
                "give the program and each argument by itself, such as [\"df\", \"-h\"], or a shell: [\"sh\", \"-c\", \"…\"]"
                    .into(),
            ),
            Self::ImpossibleTime { .. } => find_form("pve-calendar-event").map(|form| format!("write it as {form}").into()),
            Self::HostName(_) => Some("GET /nodes lists the nodes".into()),
            Self::NotSimulated(_) => Some("a real node does it".into()),
            Self::BackupElsewhere { .. } => {
                Some("POST /nodes/{node}/vzdump with the guest's own node backs it up".into())
            }
            Self::BackupAsTemplate(_) => Some("add restore=1 to restore it".into()),
            Self::UnknownPath(path) if path.is_guest_list() => Some(
                "get_cluster_resources with type=vm lists the guests, and /nodes/{node}/qemu or /nodes/{node}/lxc those \
                 of one node"
                    .into(),
            ),
            Self::UnknownPath(UnknownPath { elsewhere: Some(paths), .. }) => Some(format!("write {paths}").into()),
            Self::UnknownPath(_) => Some("search_api finds operations by plain words".into()),
            Self::InvalidParameters { .. } => Some("describe_api shows all parameters".into()),
            _ => None,
        }
    }
}

impl Hint for GuestError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Lookup(error) => error.hint(),
            Self::NotFound(error) => error.hint(),
            Self::HiddenNode(_) => None,
            Self::UnconfirmedName { error: Some(error), .. } if error.is_missing_guest() => Some(
                "the list of guests lags some seconds behind: the guest is moving to another node, or was just removed. Try \
                 again in some seconds"
                    .into(),
            ),
            Self::Renamed { .. } | Self::UnconfirmedName { .. } => {
                Some("give the number of the guest that you mean".into())
            }
            Self::OtherResource { id, .. } => Some(format!("write {id} if you mean this guest").into()),
            Self::TooManyNames { .. } => Some("give their numbers, or fewer guests".into()),
        }
    }
}

impl UnknownPath {
    /// Returns whether the path would run a command inside a container.
    fn is_command_in_container(&self) -> bool {
        self.known.contains("/lxc") && matches!(self.segment.as_deref(), Some("exec" | "agent" | "exec-status"))
    }

    /// Returns whether the path would be a list of guests, which is below a node.
    fn is_guest_list(&self) -> bool {
        &*self.known == "/" && matches!(self.segment.as_deref(), Some("qemu" | "lxc" | "vms" | "guests"))
    }
}

impl fmt::Display for UnknownPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.segment {
            Some(segment) => write!(f, "there is no `{segment}` below {} in the API", self.known)?,
            None => write!(f, "{} alone is no operation", self.known)?,
        }
        if self.is_newer {
            f.write_str(" of this cluster, whose release of Proxmox VE is older than the one that has it")?;
        }
        if let Some(suggestion) = self.suggestion.as_ref().filter(|_| !self.is_newer) {
            write!(f, " (did you mean `{suggestion}`?)")?;
        }
        match self.alternatives.as_slice() {
            [] => f.write_str(", nor anything else"),
            names => write!(f, "; there is {}", join_names(names)),
        }
    }
}

impl fmt::Display for UnknownMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has no {}, it has {}", self.path, self.method, self.available.join(", "))?;
        if self.children.is_empty() { Ok(()) } else { write!(f, "; below it are {}", join_names(&self.children)) }
    }
}

fn missing_method_text(others: &[Method]) -> String {
    let names: Vec<&str> = others.iter().map(|method| method.as_str()).collect();
    if names.is_empty() {
        return String::new();
    }
    format!(". No method was given, which means GET; this path also has {}", names.join(", "))
}

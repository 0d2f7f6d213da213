//! Parameters that several tools share.

use super::output_options::PARAMS;
use crate::mcp::arguments::{ParameterKind, ToolParameter};

/// The cluster of an API call.
pub(super) const CLUSTER_OR_DEFAULT: ToolParameter =
    optional("cluster", ParameterKind::Name, "default: the default cluster");

/// The cluster of a list.
pub(super) const CLUSTER_OR_ALL: ToolParameter = optional("cluster", ParameterKind::Name, "default: every cluster");

/// The cluster whose API description is used.
pub(super) const SCHEMA_CLUSTER: ToolParameter = optional("cluster", ParameterKind::Name, "whose version of the API");

pub(super) const fn required(name: &'static str, kind: ParameterKind, description: &'static str) -> ToolParameter {
    ToolParameter { name, kind, required: true, description }
}

pub(super) const fn optional(name: &'static str, kind: ParameterKind, description: &'static str) -> ToolParameter {
    ToolParameter { name, kind, required: false, description }
}

/// Appends the parameters that shape an answer.
pub(super) const fn with_output_options<const N: usize, const M: usize>(own: [ToolParameter; N]) -> [ToolParameter; M] {
    let mut all = [own[0]; M];
    let mut n = 0;
    while n < M {
        all[n] = if n < N { own[n] } else { PARAMS[n - N] };
        n += 1;
    }
    all
}

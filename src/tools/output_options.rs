//! The arguments of a tool that shows an answer.

use crate::mcp::arguments::{ParameterKind, ToolArguments, ToolParameter};
use crate::render::output::{OutputArguments, OutputError, OutputFormat, OutputOptions};

/// The parameters of a tool that shows an answer.
pub const PARAMS: [ToolParameter; 6] = [
    optional_param("fields", ParameterKind::CommaList, "keys: name,ha.state"),
    optional_param("filter", ParameterKind::CommaList, "status=running,mem>8G,name~web"),
    optional_param("sort", ParameterKind::CommaList, "-mem,name"),
    optional_param("limit", ParameterKind::Count, "0: all"),
    optional_param("offset", ParameterKind::Count, "rows to skip"),
    optional_param("format", ParameterKind::Choice(&["json", "table"]), "json: raw"),
];

const fn optional_param(name: &'static str, kind: ParameterKind, description: &'static str) -> ToolParameter {
    ToolParameter { name, kind, required: false, description }
}

impl OutputOptions {
    /// Parses the arguments of the parameters above.
    pub fn from_args(args: &ToolArguments) -> Result<Self, OutputError> {
        let arguments = OutputArguments {
            fields: args.text("fields"),
            filter: args.text("filter"),
            sort: args.text("sort"),
            limit: args.count("limit"),
            offset: args.count("offset"),
            format: args.text("format").map(|format| match format {
                "json" => OutputFormat::Json,
                _ => OutputFormat::Table,
            }),
        };
        Self::parse(&arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::hint::render_error;
    use crate::mcp::arguments::UnknownArguments;
    use serde_json::{Value, json};

    fn render(arguments: Value, answer: &str) -> Result<String, String> {
        let Value::Object(arguments) = arguments else { panic!("an object") };
        let options = OutputOptions::from_args(
            &ToolArguments::validate("tool", &PARAMS, UnknownArguments::Refuse, arguments)
                .map_err(|error| error.to_string())?,
        )
        .map_err(|error| render_error(&error))?;
        options.render(answer.to_owned(), false, 0).map(|rendered| rendered.text).map_err(|error| render_error(&error))
    }

    #[test]
    fn arguments_are_accepted_in_the_types_that_models_send() {
        let answer = r#"[{"n":"b"},{"n":"c"},{"n":"a"}]"#;
        for arguments in [
            json!({"sort": "n", "offset": "1", "limit": 1.0, "format": "json"}),
            json!({"filter": "n=b", "fields": "n", "limit": "0", "format": "json"}),
            json!({"filter": ["n!=a", "n!=c"], "fields": "[\"n\", \"x\"]", "sort": [], "format": "json"}),
            json!({"sort": "n", "offset": 1, "limit": 1, "format": "JSON"}),
        ] {
            assert_eq!(render(arguments, answer).unwrap(), r#"[{"n":"b"}]"#);
        }
        assert_eq!(render(json!({"format": "table", "limit": 1}), answer).unwrap(), "n\nb\n");
        assert!(
            render(json!({"filter": "b"}), answer).unwrap_err().contains("is not a condition. hint: write key=value")
        );
    }

    #[test]
    fn the_parameters_cost_little() {
        let schema = crate::mcp::arguments::object_schema(&PARAMS)["properties"].to_string();
        assert!(schema.len() <= 450, "{}: {schema}", schema.len());
    }
}

//! What a server offers, as data: tools, resources, prompts, completion. The protocol core lists and runs them; it knows
//! none by name.

use super::arguments::{self, ToolArguments, ToolParameter};
use super::content::{Content, ResourceContents};
use super::context::CallContext;
use super::message::RpcError;
use serde_json::{Map, Value, json};

/// Everything one server offers. What is empty is not announced, and its methods are unknown.
#[derive(Default)]
pub struct Catalog {
    /// What a model is told about the server as a whole.
    pub instructions: &'static str,
    /// In the order of tools/list, names unique.
    pub tools: Vec<Tool>,
    /// In the order of resources/list, URIs unique.
    pub resources: Vec<Resource>,
    /// Resources whose URI has variable parts.
    pub templates: Vec<ResourceTemplate>,
    /// In the order of prompts/list, names unique.
    pub prompts: Vec<Prompt>,
    /// Proposes values for an argument of a prompt or a variable of a template.
    pub completion: Option<CompletionHandler>,
    /// Whether tools send log messages to clients (the capability `logging`).
    pub logging: bool,
}

/// What a tool has to say when it succeeded.
pub struct ToolOutput {
    /// For the model; a text alone in most cases.
    pub content: Vec<Content>,
    /// The same as JSON text of an object, for programs; absent where the text is JSON already.
    pub structured: Option<String>,
}

impl ToolOutput {
    /// One text.
    pub fn text(text: String) -> Self {
        Self { content: vec![Content::Text(text)], structured: None }
    }

    /// A text, and the JSON text of the object that says the same.
    pub fn with_structured(text: String, structured: String) -> Self {
        Self { content: vec![Content::Text(text)], structured: Some(structured) }
    }
}

/// Why a tool, prompt or resource gave no output.
#[derive(Debug)]
pub enum ToolError {
    /// It failed: what failed, why, what to do next. The model reads it, as a result with `isError`.
    Failed(String),
    /// The request can't be served at all.
    Rpc(RpcError),
    /// It needs answers from the user first (2026-07-28: multi round-trip requests).
    InputRequired(InputRequired),
}

impl From<String> for ToolError {
    fn from(text: String) -> Self {
        Self::Failed(text)
    }
}

impl From<RpcError> for ToolError {
    fn from(fault: RpcError) -> Self {
        Self::Rpc(fault)
    }
}

/// Questions for the client, each under a key of the tool's own; it calls again with the answers.
#[derive(Debug, Default)]
pub struct InputRequired {
    /// Key, method (`elicitation/create`, …) and its params.
    pub requests: Vec<(&'static str, &'static str, Value)>,
    /// What the tool wants back with the answers; it is sealed on its way through the client.
    pub state: Option<Value>,
}

/// Runs a tool.
pub type ToolHandler = Box<dyn Fn(&CallContext<'_>, &ToolArguments) -> Result<ToolOutput, ToolError> + Send + Sync>;
/// Reads a resource; for a template with the URI asked for, `None` where it is none of its own.
pub type ResourceHandler =
    Box<dyn Fn(&CallContext<'_>, &str) -> Result<Option<Vec<ResourceContents>>, ToolError> + Send + Sync>;
/// Fills a prompt in: messages of a role (`user`, `assistant`) and their content.
pub type PromptHandler =
    Box<dyn Fn(&CallContext<'_>, &Map<String, Value>) -> Result<Vec<(&'static str, Content)>, ToolError> + Send + Sync>;
/// Given the reference (`{"type":"ref/prompt","name":…}` or `{"type":"ref/resource","uri":…}`), the argument's name and
/// what is typed so far: the values that fit, at most 100.
pub type CompletionHandler = Box<dyn Fn(&Value, &str, &str) -> Vec<String> + Send + Sync>;

/// What a call of the tool can do to a cluster (MCP: tool annotations).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolEffect {
    /// Nothing.
    ReadOnly,
    /// Anything, also what can't be undone.
    Destructive,
}

/// What a tool takes.
pub enum ToolInput {
    /// These parameters; others are refused, and the schema is made from them.
    Parameters(&'static [ToolParameter]),
    /// Whatever this JSON Schema says; the tool checks it by itself.
    Schema(Value),
}

/// One tool.
pub struct Tool {
    /// Its name on the wire.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// What a model must know to choose and call it. Every user pays for its length in every conversation.
    pub description: &'static str,
    /// What it takes.
    pub input: ToolInput,
    /// What it can do.
    pub effect: ToolEffect,
    /// Runs it.
    pub handler: ToolHandler,
}

impl Tool {
    /// Its entry in tools/list.
    pub fn definition(&self) -> Value {
        let schema = match &self.input {
            ToolInput::Parameters(params) => arguments::object_schema(params),
            ToolInput::Schema(schema) => schema.clone(),
        };
        let reads = self.effect == ToolEffect::ReadOnly;
        json!({
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "inputSchema": schema,
            "annotations": {
                "title": self.title,
                "readOnlyHint": reads,
                "destructiveHint": !reads,
                "idempotentHint": reads,
                // What comes back is what administrators and guests wrote, not a closed set of ours.
                "openWorldHint": true,
            },
        })
    }

    /// Checks the arguments and runs it. A wrong argument is a tool error, not a protocol error: the model can mend it
    /// (MCP 2025-11-25, SEP-1303).
    pub fn call(&self, context: &CallContext<'_>, arguments: Map<String, Value>) -> Result<ToolOutput, ToolError> {
        let args = match &self.input {
            ToolInput::Parameters(params) => ToolArguments::validate(self.name, params, arguments)?,
            ToolInput::Schema(_) => ToolArguments::new_unchecked(arguments),
        };
        (self.handler)(context, &args)
    }
}

/// A resource with a URI of its own.
pub struct Resource {
    /// Its URI.
    pub uri: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub description: &'static str,
    /// Its media type.
    pub mime: &'static str,
    /// Reads it.
    pub handler: ResourceHandler,
}

/// A family of resources.
pub struct ResourceTemplate {
    /// RFC 6570, such as `test://template/{id}/data`.
    pub uri: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What they are.
    pub description: &'static str,
    /// Their media type.
    pub mime: &'static str,
    /// Reads the one of the URI asked for.
    pub handler: ResourceHandler,
}

/// A prompt.
pub struct Prompt {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub description: &'static str,
    /// Name, meaning, and whether it must be given.
    pub arguments: &'static [(&'static str, &'static str, bool)],
    /// Fills it in.
    pub handler: PromptHandler,
}

//! The offer of a server, as data: tools, resources, prompts and completion.

use super::arguments::{self, InvalidArguments, ToolArguments, ToolParameter, UnknownArguments};
use super::content::{Content, ResourceContents, ResourceData};
use super::context::CallContext;
use super::error::RpcError;
use super::protocol::{ProtocolEra, TASKS_EXTENSION};
use super::started_task::StartedTask;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};
use std::time::SystemTime;

/// The offer of one server. Empty parts are not announced, and their methods are unknown.
#[derive(Default)]
pub struct Catalog {
    pub server: ServerInfo,
    /// Instructions for the model about the server as a whole.
    pub instructions: &'static str,
    /// Tools in the order of tools/list, with unique names.
    pub tools: Vec<Tool>,
    pub resources: Option<Resources>,
    /// Prompts in the order of prompts/list, with unique names.
    pub prompts: Vec<Prompt>,
    /// Proposes values for an argument of a prompt or a variable of a template.
    pub completion: Option<CompletionHandler>,
    /// Follows the tasks that calls of tools continue as.
    pub tasks: Option<TaskHandlers>,
    /// The page for people.
    pub page: Option<Page>,
    /// True if tools send log messages to clients (the capability `logging`).
    pub logging: bool,
}

/// The server as clients show it.
#[derive(Clone, Copy)]
pub struct ServerInfo {
    /// Identifier. It also names the logger, and prefixes the server's own members of `_meta`.
    pub name: &'static str,
    /// Name for people.
    pub title: &'static str,
    pub version: &'static str,
    /// Purpose for people. Empty if there is none.
    pub description: &'static str,
    pub icons: &'static [Icon],
}

/// A page for people: HTTP serves it, and clients show it as a view (MCP Apps).
pub struct Page {
    /// URI of the view, `ui://…`.
    pub uri: &'static str,
    /// The whole document, without a request for anything else.
    pub html: &'static str,
    /// The only script and style that it has, as sources of a Content-Security-Policy: `'sha256-…'`.
    pub script_source: String,
    pub style_source: String,
    /// Names of the tools whose results the view shows.
    pub tools: &'static [&'static str],
}

impl Page {
    /// Media type of a view (MCP Apps 2026-01-26, UI Resource Format).
    const MIME: &'static str = "text/html;profile=mcp-app";

    /// Returns the members of `_meta` that name the view. The second is the form of older clients.
    pub(super) fn meta(&self) -> Map<String, Value> {
        let members = [("ui", json!({"resourceUri": self.uri})), ("ui/resourceUri", self.uri.into())];
        members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    pub(super) fn contents(&self) -> ResourceContents {
        ResourceContents { uri: self.uri.into(), mime: Self::MIME, data: ResourceData::Text(self.html.into()) }
    }
}

/// An icon that clients show beside the name.
#[derive(Clone, Copy)]
pub struct Icon {
    pub data: &'static [u8],
    /// Media type.
    pub mime: &'static str,
    /// `48x48`, or `any` for a format without pixels.
    pub size: &'static str,
}

impl Default for ServerInfo {
    fn default() -> Self {
        Self { name: "mcp-server", title: "MCP server", version: "0", description: "", icons: &[] }
    }
}

impl ServerInfo {
    /// Returns name, title and version, for every result.
    pub(super) fn summary(&self) -> Value {
        json!({"name": self.name, "title": self.title, "version": self.version})
    }

    /// Returns all fields, for the answer with which a connection begins.
    pub(super) fn to_json(self) -> Value {
        let mut info = self.summary();
        if !self.description.is_empty() {
            info["description"] = self.description.into();
        }
        if !self.icons.is_empty() {
            info["icons"] = self.icons.iter().map(|icon| icon.to_json()).collect();
        }
        info
    }
}

impl Icon {
    fn to_json(self) -> Value {
        let source = format!("data:{};base64,{}", self.mime, BASE64_STANDARD.encode(self.data));
        json!({"src": source, "mimeType": self.mime, "sizes": [self.size]})
    }
}

impl Catalog {
    /// Returns the capabilities to announce. Extensions are part of the modern era.
    pub(super) fn capabilities(&self, era: ProtocolEra) -> Value {
        let mut capabilities = json!({"tools": {}});
        let optional = [
            ("resources", self.resources.is_some()),
            ("prompts", !self.prompts.is_empty()),
            ("completions", self.completion.is_some()),
            ("logging", self.logging),
        ];
        for (name, _) in optional.into_iter().filter(|(_, offered)| *offered) {
            capabilities[name] = json!({});
        }
        if self.tasks.is_some() && era == ProtocolEra::Modern {
            capabilities["extensions"][TASKS_EXTENSION] = json!({});
        }
        capabilities
    }
}

/// The result of a tool that succeeded.
#[derive(Default)]
pub struct ToolOutput {
    /// Content for the model, usually one text.
    pub content: Vec<Content>,
    /// Sentences beside the content, one line each.
    pub notes: Vec<String>,
    /// The content as the JSON text of an object, for programs. It is sent to a client that asks for it
    /// ([`CallContext::wants_structured`]), with the notes.
    pub structured: Option<String>,
    /// True if the page shows this output better than text does.
    pub shows_page: bool,
}

impl ToolOutput {
    pub fn text(text: String) -> Self {
        Self { content: vec![Content::Text(text)], ..Self::default() }
    }

    /// Creates a result from a text and the JSON text of the object that says the same.
    pub fn with_structured(text: String, structured: Option<String>) -> Self {
        Self { structured, ..Self::text(text) }
    }

    /// Moves the notes to the end of the last text and into the JSON.
    ///
    /// The notes are no content of their own: some clients show the model only the first one, or parse a text that is
    /// JSON and drop the others.
    pub(super) fn merge_notes(&mut self) {
        let notes = std::mem::take(&mut self.notes);
        if notes.is_empty() {
            return;
        }
        if let Some(structured) = &mut self.structured {
            let members = structured.trim_end().strip_suffix('}').expect("the JSON text of an object").trim_end();
            let comma = if members.ends_with('{') { "" } else { "," };
            *structured = format!("{members}{comma}\"notes\":{}}}", Value::from(notes.as_slice()));
        }
        if !matches!(self.content.last(), Some(Content::Text(_))) {
            self.content.push(Content::Text(String::new()));
        }
        if let Some(Content::Text(text)) = self.content.last_mut() {
            let separator = match text.as_bytes() {
                [] => "",
                [.., b'\n'] => "\n",
                _ => "\n\n",
            };
            text.reserve(notes.iter().map(|note| note.len() + 2).sum());
            text.push_str(separator);
            for (at, note) in notes.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { "\n" });
                text.push_str(note);
            }
        }
    }
}

/// Reason for a tool, prompt or resource to give no output.
#[derive(Debug)]
pub enum ToolError {
    /// It failed. The model reads the text as a result with `isError`.
    Failed(String),
    /// The request cannot be served at all.
    Rpc(RpcError),
    /// The user must answer questions first (2026-07-28: multi round-trip requests).
    InputRequired(InputRequired),
    /// The call of a tool continues as a task, which the client polls.
    TaskStarted(StartedTask),
}

impl From<String> for ToolError {
    fn from(text: String) -> Self {
        Self::Failed(text)
    }
}

impl From<InvalidArguments> for ToolError {
    fn from(error: InvalidArguments) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<RpcError> for ToolError {
    fn from(error: RpcError) -> Self {
        Self::Rpc(error)
    }
}

/// Questions for the client. It repeats the call with the answers.
#[derive(Debug, Default)]
pub struct InputRequired {
    pub requests: Vec<InputRequest>,
    /// State that the tool gets back with the answers. The client holds it sealed.
    pub state: Option<Value>,
}

/// One question for the client.
#[derive(Debug)]
pub struct InputRequest {
    /// Key of the answer, chosen by the tool.
    pub key: &'static str,
    pub method: InputMethod,
    pub params: Value,
}

/// The method that a client answers a question by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputMethod {
    /// The user fills in a form.
    Elicitation,
    /// The client's model answers.
    Sampling,
    /// The client lists its roots.
    Roots,
}

impl InputMethod {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Elicitation => "elicitation/create",
            Self::Sampling => "sampling/createMessage",
            Self::Roots => "roots/list",
        }
    }

    /// Returns the capability that a client needs to answer.
    pub(super) fn capability(self) -> &'static str {
        match self {
            Self::Elicitation => "elicitation",
            Self::Sampling => "sampling",
            Self::Roots => "roots",
        }
    }
}

/// Runs a tool.
pub type ToolHandler = Box<dyn Fn(&CallContext<'_>, &ToolArguments) -> Result<ToolOutput, ToolError> + Send + Sync>;
/// Returns the resources that the caller may read, in the order of resources/list, with unique URIs.
pub type ResourceListHandler = Box<dyn Fn(&CallContext<'_>) -> Vec<Resource> + Send + Sync>;
/// Reads the resource with this URI.
pub type ResourceHandler =
    Box<dyn Fn(&CallContext<'_>, &str) -> Result<Vec<ResourceContents>, ResourceError> + Send + Sync>;
/// Fills in a prompt. Returns messages, each a role (`user`, `assistant`) and its content.
///
/// The arguments are strings that are not blank. Every required one is there.
pub type PromptHandler =
    Box<dyn Fn(&CallContext<'_>, &Map<String, Value>) -> Result<Vec<(&'static str, Content)>, ToolError> + Send + Sync>;
/// Returns all values that fit an argument, the best first. Clients get at most 100.
pub type CompletionHandler = Box<dyn Fn(&CallContext<'_>, &CompletionRequest<'_>) -> Vec<String> + Send + Sync>;

/// Reason for a resource to have no contents.
#[derive(Debug)]
pub enum ResourceError {
    /// No resource has this URI. The text says why, and may be empty.
    Unknown(String),
    Failed(ToolError),
}

impl<E: Into<ToolError>> From<E> for ResourceError {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// A question for the values of one argument.
pub struct CompletionRequest<'a> {
    pub reference: CompletionReference<'a>,
    /// Name of the argument, or of the variable of a template.
    pub argument: &'a str,
    /// The text typed so far.
    pub value: &'a str,
    /// Arguments that the user has chosen already.
    pub chosen: &'a Map<String, Value>,
}

/// The owner of an argument, which the catalog has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompletionReference<'a> {
    /// A prompt, by its name.
    Prompt(&'a str),
    /// A template, by its URI template.
    Template(&'a str),
}

/// Reads the present state of a task, given the state that its tool prepared it with. A failure that may pass is no
/// error: the task still works.
pub type TaskReader = Box<dyn Fn(&CallContext<'_>, &[u8]) -> Result<TaskSnapshot, TaskError> + Send + Sync>;
/// Asks for the end of a task, which may still complete.
pub type TaskCanceller = Box<dyn Fn(&CallContext<'_>, &[u8]) -> Result<(), TaskError> + Send + Sync>;

/// The handlers of the tasks that calls of tools continue as.
pub struct TaskHandlers {
    pub read: TaskReader,
    pub cancel: TaskCanceller,
    /// The next step for a client whose task id is not valid.
    pub unknown_task_hint: &'static str,
}

/// The present state of a task.
pub struct TaskSnapshot {
    pub status: TaskStatus,
    /// One line for the user.
    pub message: String,
    /// Time of the last change.
    pub updated_at: SystemTime,
}

/// The status of a task.
pub enum TaskStatus {
    Working,
    /// The call has its result. `Err` is the text of a tool that failed.
    Completed(Result<ToolOutput, String>),
    /// The task was stopped, so the call has no result.
    Cancelled,
    /// The call ended with an error of the protocol.
    Failed(RpcError),
}

/// Reason for a handler of a task to serve no request.
#[derive(Debug)]
pub enum TaskError {
    /// The task does not exist for this caller.
    Unknown,
    /// The caller may not do this. The text has the reason.
    Denied(String),
    /// It failed, and may succeed later. The text has the reason.
    Failed(String),
}

/// The strongest effect a call of a tool can have (MCP: tool annotations).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolEffect {
    ReadOnly,
    /// The call may change or delete anything, also irreversibly.
    Destructive,
}

/// The arguments of a tool.
pub enum ToolInput {
    /// Exactly these parameters. The JSON Schema is made from them.
    Parameters(&'static [ToolParameter]),
    /// A JSON Schema. The tool checks its arguments itself.
    Schema(Value),
}

pub struct Tool {
    pub name: &'static str,
    /// Name for people.
    pub title: &'static str,
    /// Description by which a model chooses and calls the tool. Every conversation contains it, so it is short.
    pub description: &'static str,
    pub input: ToolInput,
    pub effect: ToolEffect,
    /// Members of `_meta` that some clients read. Empty if there are none.
    pub meta: Map<String, Value>,
    pub handler: ToolHandler,
}

impl Tool {
    /// Returns the names of the parameters, if the catalog knows them.
    pub(super) fn parameter_names(&self) -> impl Iterator<Item = &'static str> {
        let parameters = match self.input {
            ToolInput::Parameters(parameters) => parameters,
            ToolInput::Schema(_) => &[],
        };
        parameters.iter().map(|parameter| parameter.name)
    }

    /// Returns the entry of tools/list.
    pub fn definition(&self) -> Value {
        let schema = match &self.input {
            ToolInput::Parameters(params) => arguments::object_schema(params),
            ToolInput::Schema(schema) => schema.clone(),
        };
        let read_only = self.effect == ToolEffect::ReadOnly;
        let mut definition = json!({
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "inputSchema": schema,
            "annotations": {
                "title": self.title,
                "readOnlyHint": read_only,
                "destructiveHint": !read_only,
                "idempotentHint": read_only,
                // The systems behind the tools are the operator's own. Clients ask the user to approve each result of an
                // open world.
                "openWorldHint": false,
            },
        });
        if !self.meta.is_empty() {
            definition["_meta"] = self.meta.clone().into();
        }
        definition
    }

    /// Checks the arguments and runs the tool. A wrong argument is a tool error, not a protocol error, so that the
    /// model can correct it (MCP 2025-11-25, SEP-1303). `all_parameters` are the names of all tools' parameters.
    pub fn call(
        &self,
        context: &CallContext<'_>,
        all_parameters: &[&'static str],
        arguments: Map<String, Value>,
    ) -> Result<ToolOutput, ToolError> {
        let unknown = match self.effect {
            ToolEffect::ReadOnly => UnknownArguments::Ignore { parameters: all_parameters },
            ToolEffect::Destructive => UnknownArguments::Refuse,
        };
        let arguments = match &self.input {
            ToolInput::Parameters(params) => ToolArguments::validate(self.name, params, unknown, arguments)?,
            ToolInput::Schema(_) => ToolArguments::new_unchecked(arguments),
        };
        let mut output = (self.handler)(context, &arguments)?;
        output.notes.splice(0..0, arguments.ignored_note());
        Ok(output)
    }
}

/// The resources of a server. Their list depends on the caller.
pub struct Resources {
    pub list: ResourceListHandler,
    /// Families of resources, the same for every caller.
    pub templates: Vec<ResourceTemplate>,
    pub read: ResourceHandler,
}

/// A resource with a fixed URI.
pub struct Resource {
    pub uri: String,
    pub name: String,
    /// Name for people.
    pub title: String,
    pub description: String,
    /// Media type.
    pub mime: &'static str,
}

impl Resource {
    /// Returns the entry of resources/list.
    pub(super) fn definition(&self) -> Value {
        let Self { uri, name, title, description, mime } = self;
        json!({"uri": uri, "name": name, "title": title, "description": description, "mimeType": mime})
    }
}

/// A family of resources whose URIs share a pattern.
pub struct ResourceTemplate {
    /// URI template of RFC 6570, such as `test://template/{id}/data`.
    pub uri: &'static str,
    pub name: &'static str,
    /// Name for people.
    pub title: &'static str,
    pub description: &'static str,
    /// Media type, if all of them have the same one.
    pub mime: Option<&'static str>,
}

impl ResourceTemplate {
    /// Returns the entry of resources/templates/list.
    pub(super) fn definition(&self) -> Value {
        let Self { uri, name, title, description, mime } = self;
        let mut definition = json!({"uriTemplate": uri, "name": name, "title": title, "description": description});
        if let Some(mime) = mime {
            definition["mimeType"] = (*mime).into();
        }
        definition
    }
}

pub struct Prompt {
    pub name: &'static str,
    /// Name for people.
    pub title: &'static str,
    pub description: &'static str,
    pub arguments: &'static [PromptArgument],
    pub handler: PromptHandler,
}

/// One argument of a prompt.
pub struct PromptArgument {
    pub name: &'static str,
    pub description: &'static str,
    pub required: bool,
}

impl Prompt {
    /// Returns the entry of prompts/list.
    pub(super) fn definition(&self) -> Value {
        let arguments: Vec<_> = self
            .arguments
            .iter()
            .map(|a| json!({"name": a.name, "description": a.description, "required": a.required}))
            .collect();
        json!({"name": self.name, "title": self.title, "description": self.description, "arguments": arguments})
    }
}

//! Files of MCP clients, which name their servers.

use super::private_file;
use crate::command::cli::ClientKind;
use crate::command::failure::Failure;
use clap::ValueEnum;
use proxmox_mcp::base::json_edit::{remove_member, set_member};
use proxmox_mcp::sanitize::printable_path;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Name of the server in the files of clients.
const SERVER_NAME: &str = "proxmox";

/// The way of a client to the server.
pub enum Connection<'a> {
    Http {
        url: &'a str,
        token: &'a str,
    },
    /// The client starts the server itself.
    Stdio {
        program: &'a Path,
        config: &'a Path,
    },
}

impl ClientKind {
    /// Returns the word of the command line, which is also the name of the client in clusters.json.
    pub fn word(self) -> String {
        self.to_possible_value().expect("every client has a word").get_name().to_owned()
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::ClaudeCode => "Claude Code",
            Self::ClaudeDesktop => "Claude Desktop",
            Self::Gemini => "Gemini CLI",
            Self::Cursor => "Cursor",
            Self::VsCode => "VS Code",
        }
    }

    /// Returns whether the client starts the server itself, and so needs no token.
    pub fn uses_stdio(self) -> bool {
        self == Self::ClaudeDesktop
    }

    /// Returns the path of the client's file below `home`.
    fn file_below(self, home: &Path) -> PathBuf {
        let settings = if cfg!(target_os = "macos") { "Library/Application Support" } else { ".config" };
        match self {
            Self::ClaudeCode => home.join(".claude.json"),
            Self::ClaudeDesktop => home.join(settings).join("Claude/claude_desktop_config.json"),
            Self::Gemini => home.join(".gemini/settings.json"),
            Self::Cursor => home.join(".cursor/mcp.json"),
            Self::VsCode => home.join(settings).join("Code/User/mcp.json"),
        }
    }

    /// Returns the path of the client's file.
    pub fn file(self) -> Result<PathBuf, Failure> {
        match env::var_os("HOME").filter(|home| !home.is_empty()) {
            Some(home) => Ok(self.file_below(Path::new(&home))),
            None => Err(Failure::Usage(format!("cannot find the file of {}: HOME is not set", self.title()))),
        }
    }

    /// Returns the path of the client's file, for a person.
    pub fn file_name(self) -> String {
        self.file_below(Path::new("~")).display().to_string()
    }

    /// Returns the path of the server's entry in the file.
    fn member(self) -> [&'static str; 2] {
        [if self == Self::VsCode { "servers" } else { "mcpServers" }, SERVER_NAME]
    }

    fn entry(self, connection: &Connection<'_>) -> Value {
        match connection {
            Connection::Http { url, token } => {
                let mut entry = Map::new();
                if self != Self::Cursor {
                    entry.insert("type".into(), json!("http"));
                }
                entry.insert("url".into(), json!(url));
                entry.insert("headers".into(), json!({"Authorization": format!("Bearer {token}")}));
                entry.into()
            }
            Connection::Stdio { program, config } => json!({
                "command": program.to_string_lossy(),
                "args": ["stdio", "--config", config.to_string_lossy()],
            }),
        }
    }

    /// Returns the way to add the server by hand: a command, or the entry as a file of its own.
    pub fn instructions(self, connection: &Connection<'_>) -> String {
        let title = self.title();
        if let (Self::ClaudeCode, Connection::Http { url, token }) = (self, connection) {
            return format!(
                "For {title} (--write-client writes {}):\n  claude mcp add --transport http {SERVER_NAME} {url} --header \
                 \"Authorization: Bearer {token}\"\n",
                self.file_name()
            );
        }
        format!("For {title}, in {} (--write-client writes it):\n{}", self.file_name(), self.snippet(connection))
    }

    /// Returns the entry as a file of its own.
    fn snippet(self, connection: &Connection<'_>) -> String {
        set_member("{}\n", &self.member(), &self.entry(connection)).expect("an object")
    }

    /// Writes the entry into the client's file. Returns the path of the copy of the file before.
    pub fn write(self, path: &Path, connection: &Connection<'_>) -> Result<Option<PathBuf>, Failure> {
        self.change(path, |text| set_member(text, &self.member(), &self.entry(connection)))
    }

    /// Removes the entry from the client's file. Returns the path of the copy of the file before.
    pub fn remove(self, path: &Path) -> Result<Option<PathBuf>, Failure> {
        if !path.exists() {
            return Ok(None);
        }
        self.change(path, |text| remove_member(text, &self.member()))
    }

    fn change(self, path: &Path, edit: impl FnOnce(&str) -> Option<String>) -> Result<Option<PathBuf>, Failure> {
        let name = printable_path(path);
        let text = match fs::read_to_string(path) {
            Ok(text) if !text.trim().is_empty() => text,
            Ok(_) => "{}\n".to_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => "{}\n".to_owned(),
            Err(error) => return Err(Failure::Runtime(format!("cannot read {name}: {error}"))),
        };
        let Some(changed) = edit(&text) else {
            return Err(Failure::Runtime(format!(
                "cannot change {name}: it is not plain JSON (has it comments?). hint: add the printed entry by hand"
            )));
        };
        if changed == text {
            return Ok(None);
        }
        let copy = path.exists().then(|| private_file::back_up(path)).transpose()?;
        private_file::replace(path, changed.as_bytes(), |_| Ok(()))?;
        Ok(copy)
    }
}

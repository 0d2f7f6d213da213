//! Content as results carry it: for a model to read, hear or look at.

use super::message::push_json_string;

/// One block of content.
pub enum Content {
    /// A text.
    Text(String),
    /// A picture.
    Image(BinaryContent),
    /// A sound.
    Audio(BinaryContent),
    /// A resource, included.
    Resource(ResourceContents),
}

/// Bytes of a media type.
pub struct BinaryContent {
    /// Base64.
    pub data: String,
    /// The media type.
    pub mime: &'static str,
}

/// What a resource holds.
pub struct ResourceContents {
    /// The resource's URI.
    pub uri: String,
    /// Its media type.
    pub mime: &'static str,
    /// Its data.
    pub data: ResourceData,
}

/// Text, or bytes in base64.
pub enum ResourceData {
    /// Text.
    Text(String),
    /// Base64.
    Blob(String),
}

fn write_member(out: &mut Vec<u8>, key: &str, value: &str) {
    out.extend_from_slice(key.as_bytes());
    push_json_string(out, value);
}

impl Content {
    /// Appends its JSON.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => write_member(out, r#"{"type":"text","text":"#, text),
            Self::Image(b) => {
                write_member(out, r#"{"type":"image","data":"#, &b.data);
                write_member(out, r#","mimeType":"#, b.mime);
            }
            Self::Audio(b) => {
                write_member(out, r#"{"type":"audio","data":"#, &b.data);
                write_member(out, r#","mimeType":"#, b.mime);
            }
            Self::Resource(contents) => {
                out.extend_from_slice(br#"{"type":"resource","resource":"#);
                contents.write(out);
            }
        }
        out.push(b'}');
    }

    /// About how many bytes its JSON takes.
    pub fn estimate_size(&self) -> usize {
        match self {
            Self::Text(text) => text.len() + text.len() / 8 + 64,
            Self::Image(b) | Self::Audio(b) => b.data.len() + 64,
            Self::Resource(ResourceContents { data: ResourceData::Text(d) | ResourceData::Blob(d), .. }) => {
                d.len() + 128
            }
        }
    }
}

impl ResourceContents {
    /// Appends its JSON.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_member(out, r#"{"uri":"#, &self.uri);
        write_member(out, r#","mimeType":"#, self.mime);
        match &self.data {
            ResourceData::Text(text) => write_member(out, r#","text":"#, text),
            ResourceData::Blob(blob) => write_member(out, r#","blob":"#, blob),
        }
        out.push(b'}');
    }
}

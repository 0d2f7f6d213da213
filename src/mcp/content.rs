//! Content as results carry it: for a model to read, hear or look at.

use super::message::push_json_str;

/// One block of content.
pub enum Content {
    /// A text.
    Text(String),
    /// A picture.
    Image(Binary),
    /// A sound.
    Audio(Binary),
    /// A resource, included.
    Resource(Contents),
}

/// Bytes of a media type.
pub struct Binary {
    /// Base64.
    pub data: String,
    /// The media type.
    pub mime: &'static str,
}

/// What a resource holds.
pub struct Contents {
    /// The resource's URI.
    pub uri: String,
    /// Its media type.
    pub mime: &'static str,
    /// Its data.
    pub data: Data,
}

/// Text, or bytes in base64.
pub enum Data {
    /// Text.
    Text(String),
    /// Base64.
    Blob(String),
}

fn member(out: &mut Vec<u8>, key: &str, value: &str) {
    out.extend_from_slice(key.as_bytes());
    push_json_str(out, value);
}

impl Content {
    /// Appends its JSON.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => member(out, r#"{"type":"text","text":"#, text),
            Self::Image(b) => {
                member(out, r#"{"type":"image","data":"#, &b.data);
                member(out, r#","mimeType":"#, b.mime);
            }
            Self::Audio(b) => {
                member(out, r#"{"type":"audio","data":"#, &b.data);
                member(out, r#","mimeType":"#, b.mime);
            }
            Self::Resource(contents) => {
                out.extend_from_slice(br#"{"type":"resource","resource":"#);
                contents.write(out);
            }
        }
        out.push(b'}');
    }

    /// About how many bytes its JSON takes.
    pub fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len() + text.len() / 8 + 64,
            Self::Image(b) | Self::Audio(b) => b.data.len() + 64,
            Self::Resource(Contents { data: Data::Text(d) | Data::Blob(d), .. }) => d.len() + 128,
        }
    }
}

impl Contents {
    /// Appends its JSON.
    pub fn write(&self, out: &mut Vec<u8>) {
        member(out, r#"{"uri":"#, &self.uri);
        member(out, r#","mimeType":"#, self.mime);
        match &self.data {
            Data::Text(text) => member(out, r#","text":"#, text),
            Data::Blob(blob) => member(out, r#","blob":"#, blob),
        }
        out.push(b'}');
    }
}

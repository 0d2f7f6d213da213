//! Content blocks of results: text, pictures, sounds and resources.

use super::json_string::push_json_string;

pub enum Content {
    Text(String),
    Image(BinaryContent),
    Audio(BinaryContent),
    Resource(ResourceContents),
}

pub struct BinaryContent {
    /// Base64.
    pub data: String,
    /// Media type.
    pub mime: &'static str,
}

pub struct ResourceContents {
    pub uri: String,
    /// Media type.
    pub mime: &'static str,
    pub data: ResourceData,
}

pub enum ResourceData {
    Text(String),
    /// Base64.
    Blob(String),
}

fn write_member(out: &mut Vec<u8>, key: &str, value: &str) {
    out.extend_from_slice(key.as_bytes());
    push_json_string(out, value);
}

impl Content {
    /// Appends the JSON of the block.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => write_member(out, r#"{"type":"text","text":"#, text),
            Self::Image(image) => {
                write_member(out, r#"{"type":"image","data":"#, &image.data);
                write_member(out, r#","mimeType":"#, image.mime);
            }
            Self::Audio(audio) => {
                write_member(out, r#"{"type":"audio","data":"#, &audio.data);
                write_member(out, r#","mimeType":"#, audio.mime);
            }
            Self::Resource(contents) => {
                out.extend_from_slice(br#"{"type":"resource","resource":"#);
                contents.write(out);
            }
        }
        out.push(b'}');
    }

    /// Returns the approximate length of the JSON.
    pub fn estimate_size(&self) -> usize {
        match self {
            Self::Text(text) => text.len() + text.len() / 8 + 64,
            Self::Image(binary) | Self::Audio(binary) => binary.data.len() + 64,
            Self::Resource(ResourceContents { data: ResourceData::Text(data) | ResourceData::Blob(data), .. }) => {
                data.len() + 128
            }
        }
    }
}

impl ResourceContents {
    /// Appends the JSON of the contents.
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

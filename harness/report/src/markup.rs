//! Markup that user text cannot break out of.
//!
//! Element and attribute names are `&'static str`, so they can only come from this crate's source; everything
//! else goes through the escape. A document written with [`Markup`] is well-formed XML, HTML pages included.

use std::fmt::{self, Display, Write as _};

/// An attribute: a name from this crate's source, and a value that is escaped.
pub(crate) type Attribute<'a> = (&'static str, &'a dyn Display);

/// A growing document.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Markup {
    text: String,
}

impl Markup {
    /// An empty document.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// `<name attributes>content</name>`.
    pub(crate) fn element(
        &mut self,
        name: &'static str,
        attributes: &[Attribute<'_>],
        content: impl FnOnce(&mut Self),
    ) {
        self.open(name, attributes);
        self.text.push('>');
        content(self);
        self.text.push_str("</");
        self.text.push_str(name);
        self.text.push('>');
    }

    /// `<name attributes>text</name>`.
    pub(crate) fn leaf(&mut self, name: &'static str, attributes: &[Attribute<'_>], text: impl Display) {
        self.element(name, attributes, |inside| inside.text(text));
    }

    /// `<name attributes/>`: for SVG and XML elements, and for HTML's void elements only.
    pub(crate) fn empty(&mut self, name: &'static str, attributes: &[Attribute<'_>]) {
        self.open(name, attributes);
        self.text.push_str("/>");
    }

    /// Text, escaped.
    pub(crate) fn text(&mut self, text: impl Display) {
        let mut escape = Escape { out: &mut self.text, in_attribute: false };
        write!(escape, "{text}").expect("writing to a String cannot fail");
    }

    /// Markup from this crate's own source, as it is.
    pub(crate) fn verbatim(&mut self, markup: &'static str) {
        self.text.push_str(markup);
    }

    /// A line break between elements, for people who read the source.
    pub(crate) fn line(&mut self) {
        self.text.push('\n');
    }

    /// Another piece of markup.
    pub(crate) fn append(&mut self, other: &Self) {
        self.text.push_str(&other.text);
    }

    /// `<script type="application/json">`: data for the page's script, which no browser executes.
    pub(crate) fn data(&mut self, id: &'static str, value: &serde_json::Value) {
        self.element("script", &[("type", &"application/json"), ("id", &id)], |inside| {
            for character in value.to_string().chars() {
                match character {
                    // Inside a script element only `</` and `<!--` matter; XML minds `&` and `]]>` too.
                    '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\u{7f}'..='\u{9f}' => {
                        write!(inside.text, "\\u{:04x}", u32::from(character)).expect("String");
                    }
                    other => inside.text.push(if is_allowed(other) { other } else { '\u{fffd}' }),
                }
            }
        });
    }

    /// The document's text.
    pub(crate) fn into_string(self) -> String {
        self.text
    }

    fn open(&mut self, name: &'static str, attributes: &[Attribute<'_>]) {
        self.text.push('<');
        self.text.push_str(name);
        for (key, value) in attributes {
            self.text.push(' ');
            self.text.push_str(key);
            self.text.push_str("=\"");
            let mut escape = Escape { out: &mut self.text, in_attribute: true };
            write!(escape, "{value}").expect("writing to a String cannot fail");
            self.text.push('"');
        }
    }
}

/// Replaces what a terminal, a log or a Markdown line could take as a command: control characters and the
/// invisible marks that reorder text.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\n' | '\r' | '\t' => ' ',
            other if is_allowed(other) && !other.is_control() => other,
            _ => '\u{fffd}',
        })
        .collect()
}

struct Escape<'a> {
    out: &'a mut String,
    in_attribute: bool,
}

impl fmt::Write for Escape<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                '&' => self.out.push_str("&amp;"),
                '<' => self.out.push_str("&lt;"),
                '>' => self.out.push_str("&gt;"),
                '"' => self.out.push_str("&quot;"),
                '\'' => self.out.push_str("&#39;"),
                '\n' if self.in_attribute => self.out.push_str("&#10;"),
                '\t' if self.in_attribute => self.out.push_str("&#9;"),
                '\r' => self.out.push_str("&#13;"),
                other if is_allowed(other) => self.out.push(other),
                _ => self.out.push('\u{fffd}'),
            }
        }
        Ok(())
    }
}

/// XML 1.0 characters, less C1 controls and the marks that reorder text: these could make one verdict look
/// like another.
fn is_allowed(character: char) -> bool {
    match character {
        '\t' | '\n' | '\r' => true,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => false,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => false,
        '\u{fffe}' | '\u{ffff}' => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without it a scenario called `<script>` runs in the reader's browser.
    #[test]
    fn text_and_attributes_are_escaped() {
        let mut page = Markup::new();
        page.leaf("p", &[("title", &"\"><script>")], "a & b </p><script>alert(1)</script>");
        assert_eq!(
            page.into_string(),
            "<p title=\"&quot;&gt;&lt;script&gt;\">a &amp; b &lt;/p&gt;&lt;script&gt;alert(1)&lt;/script&gt;</p>"
        );
    }

    /// Without it a name with `</script>` ends the data block early and the rest becomes markup.
    #[test]
    fn data_blocks_cannot_be_closed_from_inside() {
        let mut page = Markup::new();
        page.data("d", &serde_json::json!({"name": "</script><!-- & \u{2028}"}));
        let text = page.into_string();
        assert_eq!(text.matches('<').count(), 2, "only the block's own tags: {text}");
        assert!(!text.contains('&'));
    }

    /// Without it a log line with an escape sequence repaints the terminal.
    #[test]
    fn plain_text_has_no_control_characters() {
        assert_eq!(plain("a\u{1b}[31mb\nc\u{202e}d"), "a\u{fffd}[31mb c\u{fffd}d");
    }
}

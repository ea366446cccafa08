//! Reading what was written: the page and the XML documents through an XML parser.

use std::collections::BTreeSet;

use quick_xml::Reader;
use quick_xml::events::Event;

/// What a document consists of.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    /// `element` and `element attribute`, each once.
    pub(crate) names: BTreeSet<String>,
    /// Text outside of scripts, styles and pictures: a line for each row, paragraph or heading, cells apart by `|`.
    pub(crate) text: Vec<String>,
    /// Values of `href` and `src`.
    pub(crate) links: Vec<String>,
    /// How many elements run code.
    pub(crate) scripts: usize,
}

/// Parses a document; it panics, with the place, where that is not well-formed.
pub(crate) fn shape(document: &str) -> Shape {
    let mut reader = Reader::from_str(document);
    reader.config_mut().check_end_names = true;
    let mut shape = Shape::default();
    let mut open: Vec<String> = Vec::new();
    loop {
        let event = reader.read_event().unwrap_or_else(|error| {
            let at = reader.buffer_position() as usize;
            let near: String = document.chars().skip(at.saturating_sub(80)).take(160).collect();
            panic!("not well-formed at byte {at}: {error}\n{near}")
        });
        match event {
            Event::Eof => break,
            Event::Start(start) => {
                note(&mut shape, &start);
                match start.name().as_ref() {
                    "td" | "th" | "dd" => push_text(&mut shape, &open, " | "),
                    "span" | "b" | "code" | "tspan" | "a" | "output" => push_text(&mut shape, &open, " "),
                    _ => shape.text.push(String::new()),
                }
                open.push(start.name().as_ref().to_owned());
            }
            Event::Empty(start) => note(&mut shape, &start),
            Event::End(_) => {
                open.pop();
            }
            Event::Text(text) => {
                push_text(&mut shape, &open, &text);
            }
            Event::GeneralRef(reference) => {
                let name: &str = &reference;
                let text = match name {
                    "amp" => "&".to_owned(),
                    "lt" => "<".to_owned(),
                    "gt" => ">".to_owned(),
                    "quot" => "\"".to_owned(),
                    _ => {
                        let character = reference.resolve_char_ref().expect("a character reference");
                        character.unwrap_or_else(|| panic!("unknown entity {name}")).to_string()
                    }
                };
                push_text(&mut shape, &open, &text);
            }
            Event::DocType(_) | Event::Decl(_) => {}
            other => panic!("unexpected in a report: {other:?}"),
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
    for line in &mut shape.text {
        *line = line.trim_matches(|c: char| c.is_whitespace() || c == '|').to_owned();
    }
    shape.text.retain(|line| !line.is_empty());
    shape
}

/// The page without the text of its own script, which is JavaScript and need not be XML.
pub(crate) fn without_script(page: &str) -> String {
    let start = page.rfind("<script>").expect("the page's script") + "<script>".len();
    let end = page.rfind("</script>").expect("the end of the script");
    format!("{}{}", &page[..start], &page[end..])
}

fn note(shape: &mut Shape, start: &quick_xml::events::BytesStart<'_>) {
    let element = start.name().as_ref().to_owned();
    let mut executable = element == "script";
    for attribute in start.attributes() {
        let attribute = attribute.expect("a well-formed attribute");
        let key = attribute.key.as_ref().to_owned();
        let value = attribute.value.into_owned();
        assert!(!value.contains('<'), "a bare < in {element} {key}");
        if key == "href" || key == "src" {
            shape.links.push(value.clone());
        }
        if element == "script" && key == "type" && value == "application/json" {
            executable = false;
        }
        shape.names.insert(format!("{element} {key}"));
    }
    shape.scripts += usize::from(executable);
    shape.names.insert(element);
}

fn push_text(shape: &mut Shape, open: &[String], text: &str) {
    if open.iter().any(|element| matches!(element.as_str(), "script" | "style" | "svg")) {
        return;
    }
    if let Some(line) = shape.text.last_mut() {
        line.push_str(text);
    }
}

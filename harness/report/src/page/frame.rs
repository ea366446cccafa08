//! The document around a page: head, policy, style and script.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::chart;
use crate::markup::Markup;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// A browser asks for an icon unless it is given one.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath \
fill='none' stroke='%231f6bb5' stroke-width='2' stroke-linecap='round' d='M2 5h8a2 2 0 1 0-2-2M2 8h11M2 11h6a2 2 0 1 1-2 2'/%3E%3C/svg%3E";

/// A document with `title` whose body is written by `content`.
pub(crate) fn document(title: &str, content: impl FnOnce(&mut Markup)) -> String {
    let mut page = Markup::new();
    page.verbatim("<!doctype html>\n");
    page.element("html", &[("lang", &"en")], |html| {
        html.element("head", &[], |head| {
            head.empty("meta", &[("charset", &"utf-8")]);
            head.empty("meta", &[("http-equiv", &"Content-Security-Policy"), ("content", &policy())]);
            head.empty("meta", &[("name", &"viewport"), ("content", &"width=device-width, initial-scale=1")]);
            head.empty("meta", &[("name", &"referrer"), ("content", &"no-referrer")]);
            head.leaf("title", &[], title);
            head.empty("link", &[("rel", &"icon"), ("href", &ICON)]);
            // Two elements, so that each one's hash is that of a file.
            head.element("style", &[], |style| style.verbatim(STYLE));
            head.element("style", &[], |style| style.verbatim(chart::STYLE));
        });
        html.line();
        html.element("body", &[], |body| {
            body.line();
            content(body);
            body.element("script", &[], |script| script.verbatim(SCRIPT));
        });
    });
    page.line();
    page.into_string()
}

fn policy() -> String {
    format!(
        "default-src 'none'; style-src '{}' '{}'; script-src '{}'; img-src data:; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(chart::STYLE),
        hash(SCRIPT)
    )
}

fn hash(source: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(source.as_bytes())))
}

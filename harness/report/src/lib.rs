//! Reports from recordings: HTML, Markdown, JUnit and JSON.

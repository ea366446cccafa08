//! Tests of the report as its readers meet it.

mod escape;
mod files;
mod flight;
mod formats;
mod markup;
mod page;

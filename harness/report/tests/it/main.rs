//! Tests of the report as its readers meet it.

mod escape;
mod figures;
mod files;
mod flight;
mod formats;
mod markup;
mod page;
mod plan;

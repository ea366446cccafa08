//! Every decision of a serving platform as a pure function.

//! The engine in virtual time, one test a row of upstream's behaviour and more.
//!
//! A test whose name begins with a letter and a number shows that row of the scenario vectors; the files
//! are named after what their rows are about. Start reading at [`rig`].

#[cfg(test)]
mod rig;

#[cfg(test)]
mod timing;

//! The API of a live node, as strangers meet it: kubectl, a controller written with kube-rs, and a program with
//! the official Python client. None of them knows Probelet.
//!
//! `node` starts a node of its own for each of them; `kubectl` plays the conversations of `transcripts/`.

#![cfg(test)]

mod durability;
mod image;
mod images;
mod kube_rs;
mod kubectl;
mod manifests;
mod node;
mod nothing_left;
mod python;
mod transcript;

//! The verbs: what is done with objects, each in one transaction of the store.
//!
//! [`Registry`] has one function a verb. Below it there is a file for each subject: `read` answers get and
//! list, `page` knows where a list goes on; `create`, `update`, `patch` and `delete` write, by way of `incoming`
//! (bodies), `admit` (what is let in, and filled in) and `write` (one transaction, and the disk after it);
//! `scale`, `token` and `eviction` are what lies below an object and is none itself; `event` tells the two shapes
//! of events apart.

mod admit;
mod create;
mod delete;
mod event;
mod eviction;
mod incoming;
mod page;
mod patch;
pub mod placing;
mod read;
mod scale;
mod token;
mod update;
mod write;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use probelet_model::time::Wall;
use probelet_store::{Object, Store, Version};
use serde_json::Value;

use crate::failure::Failure;
use crate::request::{
    DeleteOptions, FieldValidation, ListOptions, PatchType, Target, WriteOptions,
};
use crate::review::TokenSigner;

pub use event::as_asked_for;

/// What the registry has to know of the world.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `spec.runtimeClassName` of pods that name none.
    pub default_runtime_class: Option<String>,
    /// This node's name, which every pod gets.
    pub node_name: String,
    /// Reads the wall clock, for stamps.
    pub clock: fn() -> Wall,
    /// Makes the tokens of service accounts, and knows them again.
    pub tokens: Arc<TokenSigner>,
}

/// The objects, and what can be done with them.
#[derive(Debug)]
pub struct Registry {
    store: Arc<Store>,
    settings: Settings,
}

/// The answer to a write.
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// The object as it is now, or as it was last; of a subresource that is asked, its answer.
    pub value: Arc<Value>,
    /// It is new: 201.
    pub created: bool,
    /// It is gone, and of a kind whose deletion is answered by a `Status` in place of the object.
    pub deleted: bool,
    /// For the `Warning` header, one each.
    pub warnings: Vec<String>,
}

/// The answer to a list.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The objects, by namespace and name.
    pub objects: Vec<Object>,
    /// The list's `resourceVersion`: a watch from there misses nothing.
    pub version: Version,
    /// The token for the next page; empty if this is the last.
    pub continue_token: String,
    /// How many objects there are beyond this page; `None` with a selector, as upstream.
    pub remaining: Option<usize>,
}

impl Registry {
    /// This node's name.
    pub(crate) fn node_name(&self) -> &str {
        &self.settings.node_name
    }

    /// A registry over a store.
    #[must_use]
    pub fn new(store: Arc<Store>, settings: Settings) -> Self {
        Self { store, settings }
    }

    /// The store.
    #[must_use]
    pub const fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// What it was made with.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// One object, or what lies below it and can be read: its status, its scale.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn get(&self, target: &Target) -> Result<Object, Failure> {
        read::get(&self.store, target)
    }

    /// Some objects.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn list(&self, target: &Target, options: &ListOptions) -> Result<Listed, Failure> {
        read::list(&self.store, target, options)
    }

    /// Makes an object, or asks a subresource (`eviction`, `token`). On disk when it answers.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn create(
        &self,
        target: &Target,
        body: Value,
        options: &WriteOptions,
    ) -> Result<Written, Failure> {
        match target.subresource.map(|below| below.name) {
            None => create::create(self, target, body, options).await,
            Some("eviction") => eviction::evict(self, target, &body, options).await,
            Some("token") => token::request(self, target, body),
            Some(_) => Err(Failure::method_not_allowed()),
        }
    }

    /// Puts an object in the place of another, or makes it where upstream's strategy lets it.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn update(
        &self,
        target: &Target,
        body: Value,
        options: &WriteOptions,
    ) -> Result<Written, Failure> {
        match target.subresource.map(|below| below.name) {
            Some("scale") => scale::update(self, target, body, options).await,
            _ => update::update(self, target, body, options).await,
        }
    }

    /// Changes an object; an apply makes it if it is not there.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn patch(
        &self,
        target: &Target,
        patch_type: PatchType,
        patch: Value,
        options: &WriteOptions,
    ) -> Result<Written, Failure> {
        patch::patch(self, target, patch_type, &patch, options).await
    }

    /// Server-side apply of several objects, all together or none of them, each whoever owns what it says; with
    /// each answer, whether anything has changed. On disk when it answers.
    ///
    /// # Errors
    /// [`Failure`], and the index of the object that it is about.
    pub async fn apply_all(
        &self,
        objects: &[(Target, Value)],
        field_manager: &str,
    ) -> Result<Vec<(Written, bool)>, (usize, Failure)> {
        let options = WriteOptions {
            field_manager: field_manager.to_owned(),
            field_validation: FieldValidation::Strict,
            force: true,
            ..WriteOptions::default()
        };
        patch::apply_all(self, objects, &options).await
    }

    /// Deletes an object: at once, or, with a grace or finalizers, later.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn delete(
        &self,
        target: &Target,
        options: &DeleteOptions,
    ) -> Result<Written, Failure> {
        delete::delete(self, target, options).await
    }

    /// Deletes some objects, all in one transaction, and answers with them as they were.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn delete_collection(
        &self,
        target: &Target,
        options: &DeleteOptions,
        of: &ListOptions,
    ) -> Result<Listed, Failure> {
        delete::delete_collection(self, target, options, of).await
    }

    /// The wall clock, now.
    fn now(&self) -> Wall {
        (self.settings.clock)()
    }
}

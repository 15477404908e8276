//! Images: which are there, and how looking for them and pulling them goes.

use std::collections::BTreeMap;
use std::time::Duration;

use probelet_engine::input::{Image, ImageFailure};

use super::plan::secs;

/// All images. One that nobody has planned is there, and is pulled at once.
#[derive(Debug, Default)]
pub(crate) struct Images(BTreeMap<String, ImagePlan>);

/// An image and how it behaves.
#[derive(Clone, Debug)]
pub(crate) struct ImagePlan {
    there: bool,
    /// How looking for it fails at first.
    looks: Vec<ImageFailure>,
    /// One for each pull, the last for all that follow.
    pulls: Vec<(Duration, Result<(), ImageFailure>)>,
    pulled: usize,
}

/// An image that is not there, and comes in a second.
pub(crate) fn absent() -> ImagePlan {
    ImagePlan {
        there: false,
        looks: Vec::new(),
        pulls: Vec::new(),
        pulled: 0,
    }
}

/// An image that is there.
pub(crate) fn present() -> ImagePlan {
    ImagePlan {
        there: true,
        ..absent()
    }
}

impl ImagePlan {
    /// The next pull after those that are planned already fails at once.
    pub(crate) fn pull_fails(self, error: &str) -> Self {
        self.pull(0.0, Err(ImageFailure::Failed(error.to_owned())))
    }

    /// The next pull goes so.
    pub(crate) fn pull(mut self, seconds: f64, result: Result<(), ImageFailure>) -> Self {
        self.pulls.push((secs(seconds), result));
        self
    }

    /// Looking for it fails so, once more.
    pub(crate) fn look_fails(mut self, failure: ImageFailure) -> Self {
        self.looks.push(failure);
        self
    }
}

impl Images {
    pub(crate) fn plan(&mut self, image: &str, plan: ImagePlan) {
        self.0.insert(image.to_owned(), plan);
    }

    pub(crate) fn look_up(&mut self, image: &str) -> Result<Option<Image>, ImageFailure> {
        let plan = self.0.entry(image.to_owned()).or_insert_with(present);
        if !plan.looks.is_empty() {
            return Err(plan.looks.remove(0));
        }
        Ok(plan.there.then(|| known(image)))
    }

    pub(crate) fn pull(&mut self, image: &str) -> (Duration, Result<Image, ImageFailure>) {
        let plan = self.0.entry(image.to_owned()).or_insert_with(present);
        let well = (secs(1.0), Ok(()));
        let last = plan.pulls.len().saturating_sub(1);
        let (takes, result) = plan
            .pulls
            .get(plan.pulled.min(last))
            .unwrap_or(&well)
            .clone();
        plan.pulled += 1;
        plan.there |= result.is_ok();
        (takes, result.map(|()| known(image)))
    }
}

fn known(image: &str) -> Image {
    Image {
        id: format!("sha256:{image}"),
        name: format!("docker.io/{image}"),
        status_id: format!("docker.io/{image}@sha256:1"),
        size: 4_270_000,
    }
}

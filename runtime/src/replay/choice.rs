//! Which devices a schedule is to run on again, as it is written: `cuda:0*2`.

use std::str::FromStr;
use std::sync::Arc;

use super::ReplayError;
use crate::placement::LinkId;
use crate::recording::MOST_DEVICES;

/// A device of a recording, or one by its profile alone, so many times: `cpu`, `cuda:0*2`,
/// `profile:gpu`. Devices with the same number behind an `@` share one link: `cuda:0@1*2`.
///
/// ```
/// use unlade_runtime::DeviceChoice;
///
/// let two: DeviceChoice = "cuda:0*2".parse().unwrap();
/// assert_eq!((&*two.name, two.count), ("cuda:0", 2));
/// assert!("cuda:0*0".parse::<DeviceChoice>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceChoice {
    /// The recorded device, or `profile:cpu` or `profile:gpu`.
    pub name: Arc<str>,
    /// The link that they share, with one another and with others of this number.
    pub link: Option<LinkId>,
    /// How many.
    pub count: u32,
}

impl FromStr for DeviceChoice {
    type Err = ReplayError;

    fn from_str(text: &str) -> Result<Self, ReplayError> {
        let wrong = |why: String| ReplayError::Choice {
            text: text.to_owned(),
            why,
        };
        let (rest, count) = match text.trim().rsplit_once('*') {
            None => (text.trim(), 1),
            Some((rest, count)) => {
                let count = count.trim().parse().ok();
                let count = count.filter(|count| (1..=MOST_DEVICES as u32).contains(count));
                let count =
                    count.ok_or_else(|| wrong(format!("a count is 1 to {MOST_DEVICES}")))?;
                (rest.trim(), count)
            }
        };
        let (name, link) = match rest.rsplit_once('@') {
            None => (rest, None),
            Some((name, link)) => {
                let link = link
                    .parse()
                    .map_err(|_| wrong("a link is a number".to_owned()))?;
                (name, Some(LinkId(link)))
            }
        };
        if name.is_empty() {
            return Err(wrong("it names no device".to_owned()));
        }
        Ok(DeviceChoice {
            name: name.into(),
            link,
            count,
        })
    }
}

//! Lists of templates: what they may say of a request, and what of a message.

use super::mistakes::{did_you_mean, meant};
use super::path::KeyPath;
use super::written::Written;
use crate::naming::{Piece, Template};
use crate::proxy::identity;
use crate::proxy::route::Pattern;

/// All of them that are understood, and that `wrong` has nothing to say about.
pub(super) fn templates(
    list: &[String],
    path: &KeyPath,
    written: &mut Written,
    wrong: impl Fn(&Template) -> Option<String>,
) -> Vec<Template> {
    let mut good = Vec::new();
    for (index, text) in list.iter().enumerate() {
        let read = text.parse().and_then(|template| match wrong(&template) {
            Some(found_wrong) => Err(found_wrong),
            None => Ok(template),
        });
        let found_wrong = match read {
            Ok(template) => {
                good.push(template);
                continue;
            }
            Err(found_wrong) => found_wrong,
        };
        let message = if written.may_show(&path.item(index)) {
            format!("{text:?}: {found_wrong}")
        } else {
            "what is referred to (not shown) means nothing here".to_owned()
        };
        written.wrong_item(path, index, &message);
    }
    good
}

/// What is wrong with a template of a route. No pattern: its mistake has been told.
pub(super) fn of_request(
    template: &Template,
    pattern: Option<&Pattern>,
    identity: &identity::Settings,
) -> Option<String> {
    template.pieces().iter().find_map(|piece| match piece {
        Piece::Capture(name) => not_captured(name, pattern?),
        Piece::Identity if pattern?.names().any(|name| name == "identity") => Some(
            "\"{identity}\" is who asks; to have the part of the path, call it something else in match"
                .into(),
        ),
        piece if identity.guards(piece) => Some(format!(
            "\"{piece}\" would put a credential into a tag; \"{{identity}}\" stands for who asks"
        )),
        _ => None,
    })
}

fn not_captured(name: &str, pattern: &Pattern) -> Option<String> {
    let names: Vec<&str> = pattern.names().collect();
    if names.contains(&name) {
        return None;
    }
    if names.is_empty() {
        return Some(format!("\"{{{name}}}\" is no part of its match, which has none"));
    }
    let suggestion = match meant(name, &names) {
        Some(name) => did_you_mean(Some(&format!("{{{name}}}"))),
        None => format!("; there are {{{}}}", names.join("}, {")),
    };
    Some(format!("\"{{{name}}}\" is no part of its match{suggestion}"))
}

/// What is wrong with a template of a hook.
pub(super) fn of_message(template: &Template) -> Option<String> {
    let foreign = template.pieces().iter().find(|piece| !matches!(piece, Piece::Text(_) | Piece::Body(_)))?;
    Some(format!("\"{foreign}\" is of a request; a hook knows only {{body:/POINTER}}"))
}

/// The same where it makes a path, or the beginning of one.
pub(super) fn of_message_as_path(template: &Template) -> Option<String> {
    of_message(template).or_else(|| match template.pieces().first() {
        Some(Piece::Text(text)) if !text.starts_with('/') => Some("has to begin with \"/\"".into()),
        _ if template
            .pieces()
            .iter()
            .any(|piece| matches!(piece, Piece::Text(text) if text.contains('#'))) =>
        {
            Some("has a fragment (#…), which is never sent to a server".into())
        }
        _ => None,
    })
}

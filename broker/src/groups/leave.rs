//! LeaveGroup: members go, or are sent away by an administrator who knows their instance id.
//!
//!     id            that member, or the id that was given out
//!     instance      the static member, whatever its id
//!     both          only if they belong together; else fenced

use std::sync::Arc;

use protocol::model::ErrorCode;

use super::api::{Effects, Leave, Leaving, Left, Reply, ReplyTo};
use super::group::{Context, Group};

impl Group {
    pub fn leave(&mut self, leave: &Leave<'_>, to: ReplyTo, context: Context<'_>, effects: &mut Effects) {
        let size = self.size();
        let left = leave.members.iter().map(|leaving| left(leaving, self.leave_one(leaving, effects)));
        let left = left.collect();
        if self.size() < size {
            self.after_removal(context, effects);
        } else {
            self.complete_if_joined(context, effects);
        }
        effects.reply(to, Reply::Leave(Ok(left)));
    }

    fn leave_one(&mut self, leaving: &Leaving<'_>, effects: &mut Effects) -> ErrorCode {
        if leaving.instance.is_none() && self.pending.remove(leaving.member).is_some() {
            return ErrorCode::None;
        }
        let id: Arc<str> = match leaving.instance.map(|instance| self.member_of_instance(instance)) {
            Some(Some(id)) if leaving.member.is_empty() => id.clone(),
            _ => leaving.member.into(),
        };
        if let Err(code) = self.check_member(&id, leaving.instance) {
            return code;
        }
        self.expel(&id, effects);
        ErrorCode::None
    }
}

/// One entry of the reply.
pub(super) fn left(leaving: &Leaving<'_>, code: ErrorCode) -> Left {
    Left { member: leaving.member.into(), instance: leaving.instance.map(Arc::from), code }
}

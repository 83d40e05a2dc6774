//! LeaveGroup, of one or more members, by themselves or by an administrator who knows their instance ids.

use super::{ClassicGroup, State};
use crate::effects::Context;
use crate::{GroupError, LeavingMember, Left, LeftMember};

impl ClassicGroup {
    pub(crate) fn leave(&mut self, members: Vec<LeavingMember>, cx: &mut Context<'_>) -> Left {
        let members: Vec<_> = members.into_iter().map(|leaving| self.leave_one(leaving, cx)).collect();
        if members.iter().any(|member| member.result.is_ok()) {
            match self.state {
                State::Completing | State::Stable => self.prepare_rebalance(cx),
                State::Preparing(_) => self.complete_join_if_due(cx),
                State::Empty => {}
            }
        }
        Left { members }
    }

    fn leave_one(&mut self, leaving: LeavingMember, cx: &mut Context<'_>) -> LeftMember {
        let result = self.find_leaving(&leaving, cx).map(|member_id| {
            if let Some(member_id) = member_id {
                self.drop_member(&member_id, cx);
            }
        });
        LeftMember { member_id: leaving.member_id, instance_id: leaving.instance_id, result }
    }

    /// The member that is meant; `None` if it has only been given an id, which is forgotten.
    fn find_leaving(&mut self, leaving: &LeavingMember, cx: &mut Context<'_>) -> Result<Option<String>, GroupError> {
        if leaving.member_id.is_empty() {
            let found = leaving.instance_id.as_ref().and_then(|instance_id| self.static_members.get(instance_id));
            return found.map(|id| Some(id.to_string())).ok_or_else(|| self.unknown(""));
        }
        if self.stop_expecting(&leaving.member_id, cx) {
            return Ok(None);
        }
        self.check_member(&leaving.member_id, leaving.instance_id.as_deref())?;
        Ok(Some(leaving.member_id.clone()))
    }
}

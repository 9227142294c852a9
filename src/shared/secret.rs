//! Agreeing on the secret that keys the digests of requests with credentials.
//!
//! Where the operator gave none, each process draws one; the first puts its own under a name that all know, and the others take
//! that. From then on they name the entries of one identity alike. It is agreed on again every minute, for it may have been
//! evicted or wiped away, and each time the tier can be heard anew, for it may have come back empty, or as another. Whoever has
//! agreed once puts what was agreed: instances that outlive the tier keep their names.

use std::sync::Arc;
use std::sync::atomic::Ordering::Release;
use std::time::Duration;

use super::second::Shared;
use super::tier::TierError;

/// Long enough that nobody misses it who comes back in time for anything else.
const KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 3600);
/// So often that who evicts what nobody has asked for longest does not come to it, and that a tier which was emptied has it
/// again before long.
const AGREED_ON_EVERY: Duration = Duration::from_secs(60);
/// While the tier is away this costs nothing: it says so at once.
const TRIED_EVERY: Duration = Duration::from_millis(500);

impl Shared {
    pub(super) async fn agree(self: &Arc<Self>) {
        if self.secret.is_configured() {
            return;
        }
        loop {
            let agreed = self.agree_once().await.is_ok();
            // What was agreed once holds; when the tier is back, that is heard.
            let wait = if agreed || self.is_ready() { AGREED_ON_EVERY } else { TRIED_EVERY };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.heard.notified() => {}
            }
        }
    }

    async fn agree_once(&self) -> Result<(), TierError> {
        let mine = self.secret.secret();
        let sealed = self.wire.seal_secret(&mine);
        if sealed.is_empty() {
            return Err(TierError::Refused("no random numbers to seal it with"));
        }
        let there = self.tier.agree(sealed.clone(), None, KEPT_FOR).await?;
        let agreed = match self.wire.open_secret(&there) {
            Ok(agreed) => {
                // A key that is retired must not be what it needs to be read, nor enough to read it.
                if !self.wire.is_sealed_as_now(&there) {
                    let anew = self.wire.seal_secret(&agreed);
                    if !anew.is_empty() {
                        self.tier.agree(anew, Some(there), KEPT_FOR).await?;
                    }
                }
                agreed
            }
            Err(why) => {
                self.unreadable(why.label(), why.reason());
                // Only in the place of just this: another instance may have done so already, and then that one's is taken.
                let there = self.tier.agree(sealed, Some(there), KEPT_FOR).await?;
                self.wire.open_secret(&there).map_err(|_| TierError::Refused("another instance's secret"))?
            }
        };
        if agreed != mine {
            self.secret.agree_on(&agreed);
        }
        // Behind the secret: who finds this set names things by it.
        self.agreed.store(true, Release);
        Ok(())
    }
}

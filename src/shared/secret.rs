//! Agreeing on the secret that keys the digests of requests with credentials.
//!
//! Where the operator gave none, each process draws one; the first puts its own beside the log, and the others take that. From then
//! on they name the entries of one identity alike, and know what is meant where one is declared invalid. It is agreed on again before
//! each session with the log, which may have come back empty, or as another. Whoever has agreed once puts what was agreed:
//! instances that outlive the tier keep their names.

use std::sync::atomic::Ordering::Release;
use std::time::Duration;

use super::second::Shared;
use super::tier::TierError;

/// Long enough that nobody misses it who comes back in time for anything else.
const KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

impl Shared {
    /// Agrees with other instances; from then on the tier may be used. To be called before each session with the log.
    pub async fn agree(&self) -> Result<(), TierError> {
        if self.secret.is_configured() {
            return Ok(());
        }
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

    /// Whether this, which lies beside the log, is what was agreed on.
    pub fn agrees_with(&self, there: &[u8]) -> bool {
        self.wire.open_secret(there).is_ok_and(|secret| secret == self.secret.secret())
    }
}

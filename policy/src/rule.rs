//! Every rule and every signal: its stable name, its number in the behaviour page, its mode.

/// What a rule or a signal may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// It is not looked at.
    Off,
    /// It is counted and said; it refuses nothing.
    Monitor,
    /// It refuses.
    Enforce,
}

impl Mode {
    /// Its name in the policy document.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Monitor => "monitor",
            Self::Enforce => "enforce",
        }
    }
}

macro_rules! rules {
    ($($(#[$doc:meta])* $rule:ident $name:literal $number:literal $default:ident;)*) => {
        /// A rule, or a signal of the baseline.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Rule { $($(#[$doc])* $rule,)* }

        impl Rule {
            /// Every rule, in the order of their numbers.
            pub const ALL: [Self; 0 $(+ { let _ = $name; 1 })*] = [$(Self::$rule,)*];

            /// The stable name: in the policy document, answers, logs and metrics.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$rule => $name,)* }
            }

            /// Its number in the behaviour page: `D..` a rule, `C` the context score, `S` a
            /// sequential test.
            pub const fn number(self) -> &'static str {
                match self { $(Self::$rule => $number,)* }
            }

            /// What a fresh installation does: what cannot be wrong is enforced, what is
            /// statistical is watched.
            pub const fn default_mode(self) -> Mode {
                match self { $(Self::$rule => Mode::$default,)* }
            }
        }
    };
}

rules! {
    /// The source lags more than the fleet's finality does.
    SourceLag "source_lag" "D08" Monitor;
    /// A client that may not ask this of this key.
    ClientPermission "client_permission" "P01" Enforce;
    /// A certificate from an address that it is not bound to.
    CertificateAddress "certificate_address" "P02" Enforce;
    /// A credential that was not used for long.
    DormantCredential "dormant_credential" "P03" Enforce;
    /// A block whose header cannot be one: parent, state or body root of zeros.
    HeaderSanity "header_sanity" "P04" Enforce;
    /// A proposal for a slot that is neither the present one nor the one before.
    BlockWindow "block_window" "D11" Enforce;
    /// A RANDAO reveal for another epoch than is due.
    RandaoWindow "randao_window" "D12" Enforce;
    /// More selection proofs than a key can need, or for slots that it cannot.
    SelectionBudget "selection_budget" "D13" Enforce;
    /// An aggregate without a selection proof of its own.
    AggregateWithoutProof "aggregate_without_proof" "D14" Monitor;
    /// Sync-committee messages outside their slot, or a contribution without a proof.
    SyncWindow "sync_window" "D15" Enforce;
    /// More keys in the sync committee than chance allows.
    SyncShare "sync_share" "D16" Monitor;
    /// A voluntary exit outside an approved window, or from a client that may not.
    ExitWindow "exit_window" "D17" Enforce;
    /// More exits in a day than are allowed.
    ExitDailyMax "exit_daily_max" "D17b" Enforce;
    /// A deposit to withdrawal credentials that are not on the list.
    DepositCredentials "deposit_credentials" "D18" Enforce;
    /// A registration with a fee recipient, gas limit or time that is not the policy's.
    Registration "registration" "D19" Enforce;
    /// A block whose fee recipient is not the policy's, where it can be seen.
    BlockFeeRecipient "block_fee_recipient" "D20" Enforce;
    /// More duties of a type than a key can have.
    DutyBudget "duty_budget" "P05" Enforce;
    /// A source that is not enrolled for the group, where enrolment is strict.
    SourceEnrolment "source_enrolment" "D22" Enforce;
    /// A second client, while the owner of the lease is alive.
    ClientLease "client_lease" "D23" Enforce;
    /// The former owner, after the lease has moved.
    LeaseFence "lease_fence" "D24" Enforce;
    /// A source-key pair in quarantine.
    Quarantine "quarantine" "D25" Enforce;
    /// Who is asking, in log-odds.
    Context "context" "C" Monitor;
    /// When in the slot this key signs.
    Timing "timing" "S1" Monitor;
    /// Which shares sign for this key.
    Shares "shares" "S2" Monitor;
    /// When in the slot a whole source signs.
    SourceTiming "source_timing" "S3" Monitor;
    /// How many reveals, proposals and registrations the fleet signs.
    FleetRates "fleet_rates" "S4" Monitor;
}

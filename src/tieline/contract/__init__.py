"""Contracts with owners: party, program, enrolment, consent, eligibility, pay."""

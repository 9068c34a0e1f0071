"""Signed envelopes: what is taken, and all the ways in which one that was tampered with is not."""

import copy
from datetime import timedelta

import pytest
from ews_certificates import NOW, held, signed
from lxml import etree

from tieline.wire.ews import names as ns
from tieline.wire.ews.codec import faulting, telling
from tieline.wire.ews.errors import EwsError, Malformed, Unsigned
from tieline.wire.ews.messages import Header, ReplayDetection, Reply, Told
from tieline.wire.ews.security import Signer, Strength, Trust, authorities_of, seal, signer_of, trusted_body
from tieline.wire.ews.tree import Tree, parse, serialise

TOLD = Told(
    header=Header(
        verb="reply", noun="BidSet", source="ERCOT", replay_detection=ReplayDetection(nonce="1", created="2021")
    ),
    reply=Reply(reply_code="OK", errors=("all is well",)),
)
TRUST = Trust(authorities_of(held("root", is_authority=True).pem), "MARKET")
ID = f"{{{ns.WSU}}}Id"


def signer(name: str = "MARKET", by: str = "root", strength: Strength = "sha256", **how: int) -> Signer:
    mine = held(name, by, **how)
    return signer_of(mine.pem, mine.key_pem, strength)


def sealed(who: Signer | None = None) -> Tree:
    return parse(serialise(seal(telling(TOLD), who or signer(), NOW)))


def refused(envelope: Tree, trust: Trust = TRUST, late: timedelta = timedelta(0)) -> str:
    with pytest.raises(Unsigned) as found:
        trusted_body(parse(serialise(envelope)), trust, NOW + late)
    return str(found.value)


@pytest.mark.parametrize("curve", [False, True])
@pytest.mark.parametrize("strength", ["sha256", "sha512"])
def test_what_was_signed_is_trusted_as_it_was_sent(strength: Strength, curve: bool) -> None:
    envelope = sealed(signer(strength=strength, curve=curve))
    body = trusted_body(envelope, TRUST, NOW)
    assert body is envelope.find(f"{{{ns.SOAP}}}Body")
    assert body.findtext(f".//{{{ns.MESSAGE}}}Error") == "all is well"


def test_sha_1_counts_only_where_a_setting_takes_it() -> None:
    envelope = sealed(signer(strength="sha1"))
    assert "SHA-256" in refused(envelope)
    assert trusted_body(envelope, Trust(TRUST.authorities, "MARKET", takes_sha1=True), NOW) is not None


def test_a_changed_word_is_refused() -> None:
    envelope = sealed()
    envelope.find(f".//{{{ns.MESSAGE}}}Error").text = "all is lost"
    assert "not what was signed" in refused(envelope)


def test_a_body_that_was_wrapped_away_and_replaced_is_refused() -> None:
    envelope = sealed()
    body = envelope.find(f"{{{ns.SOAP}}}Body")
    false = copy.deepcopy(body)
    false.find(f".//{{{ns.MESSAGE}}}Error").text = "all is lost"
    envelope.replace(body, false)
    etree.SubElement(envelope.find(f"{{{ns.SOAP}}}Header"), "Wrapper").append(body)
    assert "names 2 elements" in refused(envelope)
    del false.attrib[ID]
    assert "the body is not signed" in refused(envelope)
    false.set(ID, "other")
    assert "the body is not signed" in refused(envelope)


def test_a_second_body_security_header_or_signature_is_refused() -> None:
    envelope = sealed()
    envelope.append(copy.deepcopy(envelope.find(f"{{{ns.SOAP}}}Body")))
    with pytest.raises(Malformed, match="one body"):
        trusted_body(envelope, TRUST, NOW)
    for path in (f"{{{ns.WSSE}}}Security", f"{{{ns.WSSE}}}Security/{{{ns.DS}}}Signature"):
        envelope = sealed()
        twice = envelope.find(f"{{{ns.SOAP}}}Header/{path}")
        twice.getparent().append(copy.deepcopy(twice))
        assert "2 S" in refused(envelope)


def test_what_is_not_signed_at_all_is_refused() -> None:
    assert "0 Security" in refused(telling(TOLD))
    assert "0 Security" in refused(faulting("soap:Server", "down"))


def test_another_who_is_vouched_for_by_the_same_authority_is_not_the_market() -> None:
    assert "signed by OTHER-QSE" in refused(sealed(signer("OTHER-QSE")))


def test_the_market_s_name_by_an_authority_that_is_not_ours_is_refused() -> None:
    assert "no authority of ours" in refused(sealed(signer(by="elsewhere")))


def test_a_participant_s_certificate_vouches_for_nobody() -> None:
    middle = held("QSE", "root")
    leaf = signed("MARKET", middle)
    leaf.certificate.verify_directly_issued_by(middle.certificate)
    bundle = Trust((held("root", is_authority=True).certificate, middle.certificate), "MARKET")
    assert "no authority of ours" in refused(sealed(signer_of(leaf.pem, leaf.key_pem)), bundle)


def test_a_certificate_that_ran_out_is_refused() -> None:
    assert "not valid now" in refused(sealed(signer("MARKET", ends_days=-1)))


@pytest.mark.parametrize("late_s", [-301, 601, 86_400])
def test_a_message_of_another_time_is_refused(late_s: int) -> None:
    assert "timestamp" in refused(sealed(), late=timedelta(seconds=late_s))


@pytest.mark.parametrize("late_s", [-299, 0, 599])
def test_clocks_may_differ_by_the_skew(late_s: int) -> None:
    assert trusted_body(sealed(), TRUST, NOW + timedelta(seconds=late_s)) is not None


def test_a_signature_over_the_timestamp_alone_is_refused() -> None:
    envelope = sealed()
    references = envelope.findall(f".//{{{ns.DS}}}Reference")
    references[0].set("URI", "#stamp")
    references[0].find(f"{{{ns.DS}}}DigestValue").text = references[1].findtext(f"{{{ns.DS}}}DigestValue")
    assert "the body is not signed" in refused(envelope)


@pytest.mark.parametrize("uri", ["", "#", "#nobody", "http://elsewhere/x", "#xpointer(/)"])
def test_a_reference_to_anything_but_an_element_is_refused(uri: str) -> None:
    envelope = sealed()
    envelope.find(f".//{{{ns.DS}}}Reference").set("URI", uri)
    assert "names 0 elements" in refused(envelope)


def test_another_way_of_canonical_form_is_refused() -> None:
    inclusive = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
    for name in ("Transform", "CanonicalizationMethod"):
        envelope = sealed()
        envelope.find(f".//{{{ns.DS}}}{name}").set("Algorithm", inclusive)
        assert "canonical form" in refused(envelope)


def test_a_comment_neither_breaks_a_signature_nor_hides_a_word() -> None:
    data = serialise(sealed()).replace(b"all is well", b"all <!-- never -->is well")
    body = trusted_body(parse(data), TRUST, NOW)
    assert body.findtext(f".//{{{ns.MESSAGE}}}Error") == "all is well"


def test_no_flipped_byte_makes_another_message_of_it() -> None:
    data = serialise(sealed())
    for at in range(0, len(data), 7):
        spoiled = data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :]
        try:
            body = trusted_body(parse(spoiled), TRUST, NOW)
        except EwsError:
            continue
        assert body.findtext(f".//{{{ns.MESSAGE}}}Error") == "all is well", (at, data[at : at + 20])


@pytest.mark.parametrize("strength", ["sha1"])
def test_an_elliptic_curve_signs_with_no_sha_1(strength: Strength) -> None:
    mine = held("MARKET", "root", curve=True)
    with pytest.raises(ValueError, match="RSA"):
        signer_of(mine.pem, mine.key_pem, strength)


def test_a_key_of_another_certificate_is_refused() -> None:
    with pytest.raises(ValueError, match="not that of the certificate"):
        signer_of(held("MARKET", "root").pem, held("OTHER-QSE", "root").key_pem)

"""What Twilio's own library for Python thinks of ours. Reads one JSON object, writes one."""

import json
import sys
import xml.etree.ElementTree as ElementTree

from twilio.base.exceptions import TwilioRestException
from twilio.request_validator import RequestValidator
from twilio.rest import Client
from twilio.twiml.voice_response import Connect, Dial, VoiceResponse


class Form(dict):
    """As a web framework has it: a name that comes twice has two values."""

    def __init__(self, pairs):
        for name, value in pairs:
            self.setdefault(name, []).append(value)

    def getall(self, name):
        return self[name]


def signatures(cases):
    answers = []
    for case in cases:
        validator = RequestValidator(case["token"])
        form, algorithm = Form(case["form"]), case["algorithm"]
        answers.append(
            {
                "accepted": validator.validate(case["url"], form, case["signature"], algorithm),
                "made": validator.compute_signature(case["url"], form, algorithm),
            }
        )
    return answers


def bodies(cases):
    return [RequestValidator(case["token"]).validate(case["url"], case["body"], case["signature"]) for case in cases]


def document(wanted):
    """The document that the library makes of the same wishes."""
    response = VoiceResponse()
    match wanted:
        case {"stream": stream, "action": action, "status": status}:
            connect = Connect(action=action)
            connect.stream(url=stream, status_callback=status)
            response.append(connect)
        case {"reject": reason}:
            response.reject(reason=reason)
        case {"say": text, "voice": voice, "language": language}:
            response.say(text, voice=voice, language=language)
            response.hangup()
        case {"dial": number}:
            response.dial(number)
        case {"sip": address}:
            dial = Dial()
            dial.sip(address)
            response.append(dial)
        case {"hangup": _}:
            response.hangup()
    return str(response)


def documents(cases):
    canonical = lambda text: ElementTree.canonicalize(text)
    return [[canonical(case["ours"]), canonical(document(case["wanted"]))] for case in cases]


def rest(about):
    client = Client(about["user"], about["password"], about["account"])
    client.api.base_url = about["api"]
    call = client.calls(about["call"])
    seen = {"fetched": call.fetch().status}
    recording = call.recordings.create(recording_channels="dual")
    seen["recording"] = [recording.status, recording.call_sid, recording.channels]
    seen["listed"] = [recording.sid for recording in call.recordings.list()] == [recording.sid]
    seen["fetched_recording"] = client.recordings(recording.sid).fetch().source
    seen["updated"] = call.update(status="completed").status
    seen["after"] = call.fetch().status
    try:
        call.update(status="completed")
    except TwilioRestException as error:
        seen["again"] = [error.status, error.code]
    try:
        client.calls("CA404").fetch()
    except TwilioRestException as error:
        seen["unknown"] = [error.status, error.code]
    stranger = Client(about["user"], "wrong", about["account"])
    stranger.api.base_url = about["api"]
    try:
        stranger.calls(about["call"]).fetch()
    except TwilioRestException as error:
        seen["stranger"] = [error.status, error.code]
    return seen


def numbers(about):
    """Looks a number up and points it somewhere."""
    client = Client(about["user"], about["password"], about["account"])
    client.api.base_url = about["api"]
    everything = [number.phone_number for number in client.incoming_phone_numbers.list()]
    [number] = client.incoming_phone_numbers.list(phone_number=about["number"])
    voice, status = about["voice_url"], about["status_callback"]
    number.update(voice_url=voice, voice_method="POST", status_callback=status, status_callback_method="GET")
    number = client.incoming_phone_numbers(number.sid).fetch()
    seen = {
        "everything": everything,
        "set": [number.voice_url, number.voice_method, number.status_callback, number.status_callback_method],
        "can": number.capabilities["voice"],
    }
    for name, change in {"url": {"voice_url": "calls"}, "method": {"voice_method": "PUT"}}.items():
        try:
            number.update(**change)
        except TwilioRestException as error:
            seen[name] = [error.status, error.code]
    return seen


asked = json.load(sys.stdin)
CHECKS = {"signatures": signatures, "bodies": bodies, "documents": documents, "rest": rest, "numbers": numbers}
json.dump({name: CHECKS[name](about) for name, about in asked.items()}, sys.stdout)

"""Masks: how a phone number, a name, an ID-card number and an address look outside the vault.

They are conservative: work-order numbers, amounts, dates, public hotlines and area codes stay readable, because staff work with them. In
running text a name is masked only behind a word that announces one. Called by intake, the desk, logs and surfaces.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import Final

from hub.contract import Contact
from hub.privacy.marks import Known, Marks, marks_of

FIELDS: Final = ("name", "phone", "address")
"""The fields of a contact, in the order they are named everywhere."""

_COMPOUND: Final = "欧阳|司马|上官|诸葛|夏侯|皇甫|尉迟|公孙|慕容|令狐|东方|司徒|端木|西门|南宫|轩辕|独孤|长孙|宇文|闻人"
_SURNAMES: Final = (
    "王李张刘陈杨黄赵周吴徐孙马朱胡郭何高林罗郑梁谢宋唐许邓韩冯曹彭曾肖萧田董潘袁蔡蒋余于杜叶程魏苏吕丁任卢姚沈钟姜崔谭陆范汪廖石金"
    "韦贾夏付傅方邹熊白孟秦邱侯江尹薛闫阎雷龙黎史陶贺毛郝顾龚邵万覃武钱戴严莫孔向常汤康易乔赖文施洪季庄童葛樊岳齐梅鲍柳章倪伍翟纪"
    "俞凌舒屈项祝左涂骆阮游聂焦单尚柯宁耿裴霍甘卞费席瞿褚卫蓝包管岑艾欧殷辛盛邢欣丘华祁司景鲁荣温路谈符盘戚成古关仇柏柴"
)
_NAME: Final = rf"(?:(?P<compound>{_COMPOUND})|(?P<surname>[{_SURNAMES}]))[一-鿿]{{1,2}}?"
_NAME_IN_TEXT = re.compile(
    r"(?P<cue>(?:我叫|姓名|联系人|投诉人|反映人|来电人|举报人|申请人|报修人|报案人|诉求人|求助人|户主|当事人|本人叫)[是为叫]?[:：]?\s*)"
    + _NAME
    + r"(?=$|[\s，,。；;、:：!！?？（(【\[/\d０-９+]|电话|手机|联系|身份证|先生|女士|小姐|同志|男|女|现住|家住|住在|住址)"
)
# A number that stands behind such a word is a document's, however much it looks like a telephone's.
_DOCUMENT = re.compile(
    r"(?:单号|编号|工单|订单|流水|票号|案号|合同|发票|批号|文号|凭证|受理号)(?:号码|号)?[是为]?[:：#＃№\s]*$"
)
_MONEY_AFTER = re.compile(r"\s*(?:元|万|亿|块|人民币|[.．]\d|平方|平米|立方|吨|度|千瓦)")
_MOBILE = re.compile(
    r"(?<![0-9０-９A-Za-z.．_])(?<!\d-)(?P<country>(?:\+|00)?86[- ]?)?"
    r"(?P<number>[1１][3-9３-９]\d(?P<gap>[- ]?)\d{4}(?P=gap)\d{4})(?![0-9０-９A-Za-z_])"
)
_LANDLINE = re.compile(
    r"(?<![0-9０-９A-Za-z.．_*])(?<!\d-)(?P<area>[(（]0\d{2,3}[)）]\s?|0\d{2,3}[-－—– ])(?P<number>\d{7,8})(?![0-9A-Za-z_])"
)
_ANNOUNCED = re.compile(
    r"(?P<cue>(?:电话|座机|手机|固话|来电|致电|拨打|号码|tel|phone)(?:号码|号)?[是为]?[:：]?\s*)(?P<area>010|02\d|0[3-9]\d{2})?(?P<number>\d{7,8})(?![0-9A-Za-z_])",
    re.IGNORECASE,
)
_IDENTITY = re.compile(r"(?<![0-9０-９A-Za-z])(?P<head>\d{6})(?:(?P<birth>\d{8})\d{3}[\dXxＸ]|\d{9})(?![0-9A-Za-z])")
_IDENTITY_CUE = re.compile(r"身份证(?:号码|号|件)?[是为]?[:：]?\s*$")
_BANK_CARD = re.compile(
    r"(?P<cue>(?:银行卡|卡号|账号|帐号|账户|帐户)(?:号码|号)?[是为]?[:：]?\s*)"
    r"(?P<number>\d{4}(?:[ -]?\d{4}){2,3}[ -]?\d{1,4})(?!\d)"
)
_EMAIL = re.compile(r"(?<![A-Za-z0-9._%+@*-])([A-Za-z0-9])[A-Za-z0-9._%+-]*@([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)")
_ANY_EMAIL: Final = re.compile(r"[^\s/,，;；]+@[^\s/,，;；]+")
_ANY_NUMBER: Final = re.compile(r"[+＋]?\d(?:[\s()（）－—–-]?\d){4,}")
_FLAT = re.compile(
    r"(?:(?<=单元)|(?<=[栋幢座楼]))(?P<lead>\s*-?\s*)\d{3,4}(?P<tail>室|房|号房|号)?+(?!\d|[-－/.]\d|\s*(?:年|元|米|人|户|平|㎡|个|万|多|余|块|套|辆|台|页|间|天|名|m|M|门面|商铺|铺|店|麻将|宾馆|餐|公司|联排))"
    r"|(?<![\dA-Za-z])\d{3,4}(?=室(?!内|外|温))"
)
_HOME_CUE = re.compile(
    r"(?P<cue>(?:(?:家庭|现|户籍|居住|常住|家)地址|住址)[是为]?[:：]\s*)(?P<address>[^\s，,。；;！!？?\n]{4,})"
)
_STREET = re.compile(r"^(.*?(?:街道|[镇乡](?!政府)))")
_ROAD = re.compile(r"^(.*?(?:大道|大街|[路街巷弄道]))")
_DISTRICT = re.compile(r"^(.*?(?<![小社园片])[区县旗])")
_STARS: Final = "***"
_UNSEEN: Final = frozenset(("Cc", "Cf", "Cs"))
"""Control and formatting characters (those that turn the direction of writing, too) and halves of surrogate pairs."""


def mask_phone(phone: str) -> str:
    """`138****1234`, `025-****1234`; of anything else only the last two digits stay."""
    digits = re.sub(r"[^\d]", "", phone)
    mobile = re.fullmatch(r"(?:86|0086)?(1[3-9]\d)\d{4}(\d{4})", digits)
    if mobile:
        return f"{mobile[1]}****{mobile[2]}"
    landline = re.fullmatch(r"(010|02\d|0[3-9]\d{2})\d{3,4}(\d{4})", digits)
    if landline:
        return f"{landline[1]}-****{landline[2]}"
    return f"****{digits[-2:]}" if digits and "*" not in phone else phone


def mask_name(name: str) -> str:
    """`张**`, `欧阳**`, `J**`: the surname (or the first letter) stays."""
    bare = name.strip()
    if not bare:
        return bare
    compound = re.match(_COMPOUND, bare)
    return f"{compound[0] if compound and len(bare) > 2 else bare[0]}**"


def mask_address(address: str) -> str:
    """To street level: `栖霞区尧化街道***`; without a street office to the road, else to the district, else nothing stays."""
    bare = address.strip()
    for pattern in (_STREET, _ROAD, _DISTRICT):
        kept = pattern.match(bare)
        if kept:
            return bare if kept[1] == bare else f"{kept[1]}{_STARS}"
    return _STARS if bare else bare


def mask_text(text: str) -> str:
    """Mask personal data in running text: telephone, ID-card and bank-card numbers, e-mail addresses, announced names, flat numbers,
    announced home addresses (to street level). Masking twice changes nothing more.
    """
    if not text:
        return text
    text = _HOME_CUE.sub(lambda m: m["cue"] + mask_address(m["address"]), text)
    text = _IDENTITY.sub(_identity, text)
    text = _BANK_CARD.sub(lambda m: f"{m['cue']}****{re.sub('[^0-9０-９]', '', m['number'])[-4:]}", text)
    text = _MOBILE.sub(_mobile, text)
    text = _LANDLINE.sub(lambda m: m[0] if _is_document(m) else f"{m['area']}****{m['number'][-4:]}", text)
    text = _ANNOUNCED.sub(lambda m: f"{m['cue']}{m['area'] or ''}****{m['number'][-4:]}", text)
    text = _EMAIL.sub(r"\1***@\2", text)
    text = _NAME_IN_TEXT.sub(lambda m: f"{m['cue']}{m['compound'] or m['surname']}**", text)
    return _FLAT.sub(lambda m: f"{m['lead'] or ''}{_STARS}{m['tail'] or ''}", text)


def mask_file_name(name: str) -> str:
    """A file's name without path, unseen characters or personal data, at most 100 characters; may be empty.

    Underscores part words in file names, so a number between two of them is masked too.
    """
    last = name.replace("\\", "/").rpartition("/")[2]
    shown = "".join(letter for letter in last if unicodedata.category(letter) not in _UNSEEN)
    bare = re.sub(r"[<>:\"|?*]", "", shown).strip(". ")
    return "_".join(map(mask_text, mask_text(bare).split("_")))[-100:]


def mask_contact(contact: Contact) -> Contact:
    """The contact as it may be shown to those who need not know it."""
    return Contact(
        name=mask_name(contact.name) if contact.name else None,
        phone=mask_phone(contact.phone) if contact.phone else None,
        address=mask_address(contact.address) if contact.address else None,
    )


def known_of(contact: Contact) -> Iterator[Known]:
    """The values that may name a reporter in a text, each with the text to show: whole values, each number and e-mail address by itself,
    each part of an address. Also in their masked form, because the masks run first.
    """
    if contact.name:
        yield Known(contact.name, mask_name(contact.name), "word")
    phone = contact.phone or ""
    yield Known(phone, mask_phone(phone), "number")
    for found in _ANY_EMAIL.findall(phone):
        yield Known(found, mask_text(found), "exact")
    for number in _ANY_NUMBER.findall(phone):
        digits = re.sub(r"\D", "", number)
        bare = re.sub(r"^(?:00)?86(?=1[3-9]\d{9}$)", "", digits)
        for one in (digits, bare, f"86{bare}", f"0086{bare}"):
            yield Known(one, mask_phone(bare), "number")
    address = contact.address or ""
    for part in (address, *re.split(r"[，,；;]", address)):
        for form in (part, mask_text(part)):
            yield Known(form, mask_address(part), "exact")


def hider(contact: Contact | None) -> Callable[[str], str]:
    """A function that masks a reporter's known values in any text, as the desk will later."""
    key = os.urandom(32)
    return Marks(key, marks_of(known_of(contact), key) if contact is not None else ()).hide


def _is_document(match: re.Match[str]) -> bool:
    before = match.string[max(0, match.start() - 12) : match.start()]
    return _DOCUMENT.search(before) is not None or _MONEY_AFTER.match(match.string, match.end()) is not None


def _mobile(match: re.Match[str]) -> str:
    if _is_document(match):
        return match[0]
    digits = re.sub(r"[- ]", "", match["number"])
    return f"{match['country'] or ''}{digits[:3]}****{digits[-4:]}"


def _identity(match: re.Match[str]) -> str:
    """An ID-card number keeps its district code. Without the word before it, birth date and check digit must be right."""
    announced = _IDENTITY_CUE.search(match.string[max(0, match.start() - 10) : match.start()]) is not None
    if not announced and (match["birth"] is None or not _is_identity(match[0])):
        return match[0]
    return match["head"] + "*" * (len(match[0]) - 6)


def _is_identity(number: str) -> bool:
    """Check digit after GB 11643-1999 (ISO 7064 MOD 11-2) and a plausible date of birth."""
    month, day = int(number[10:12]), int(number[12:14])
    if not ("1900" <= _plain(number[6:10]) <= "2099" and 1 <= month <= 12 and 1 <= day <= 31):
        return False
    total = sum(int(digit) * (2 ** (17 - place) % 11) for place, digit in enumerate(number[:17]))
    return "10X98765432"[total % 11] == _plain(number[17]).upper()


def _plain(text: str) -> str:
    """Full-width digits and letters as ASCII."""
    return "".join(chr(ord(c) - 0xFEE0) if "！" <= c <= "～" else c for c in text)

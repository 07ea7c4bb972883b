// SPDX-License-Identifier: Apache-2.0
#include "data/html_text.h"

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include <gumbo.h>

#include "data/text.h"

namespace telehelm::data {

namespace {

constexpr std::array kSkippedTags = {GUMBO_TAG_HEAD,   GUMBO_TAG_SCRIPT,   GUMBO_TAG_STYLE,  GUMBO_TAG_NAV,      GUMBO_TAG_HEADER,
                                     GUMBO_TAG_FOOTER, GUMBO_TAG_ASIDE,    GUMBO_TAG_FORM,   GUMBO_TAG_NOSCRIPT, GUMBO_TAG_SVG,
                                     GUMBO_TAG_BUTTON, GUMBO_TAG_TEMPLATE, GUMBO_TAG_SELECT, GUMBO_TAG_TEXTAREA, GUMBO_TAG_OBJECT,
                                     GUMBO_TAG_IFRAME, GUMBO_TAG_NOFRAMES, GUMBO_TAG_INPUT,  GUMBO_TAG_LABEL};

constexpr std::array kBlockTags = {
    GUMBO_TAG_P,   GUMBO_TAG_DIV,        GUMBO_TAG_SECTION, GUMBO_TAG_ARTICLE, GUMBO_TAG_MAIN,  GUMBO_TAG_BLOCKQUOTE,
    GUMBO_TAG_PRE, GUMBO_TAG_UL,         GUMBO_TAG_OL,      GUMBO_TAG_DL,      GUMBO_TAG_TABLE, GUMBO_TAG_FIGURE,
    GUMBO_TAG_H1,  GUMBO_TAG_H2,         GUMBO_TAG_H3,      GUMBO_TAG_H4,      GUMBO_TAG_H5,    GUMBO_TAG_H6,
    GUMBO_TAG_HR,  GUMBO_TAG_FIGCAPTION, GUMBO_TAG_CAPTION, GUMBO_TAG_ADDRESS, GUMBO_TAG_BODY};

constexpr std::array kLineTags = {GUMBO_TAG_LI, GUMBO_TAG_DT, GUMBO_TAG_DD, GUMBO_TAG_TR, GUMBO_TAG_BR};

// Names that DocBook, Sphinx, Texinfo, GAPDoc and the Apache manual give to what is not the page's own text.
constexpr std::array<std::string_view, 41> kSkippedNames = {"nav",
                                                            "navbar",
                                                            "navheader",
                                                            "navfooter",
                                                            "navigation",
                                                            "sidebar",
                                                            "sphinxsidebar",
                                                            "related",
                                                            "footer",
                                                            "breadcrumb",
                                                            "breadcrumbs",
                                                            "menu",
                                                            "toc",
                                                            "contents",
                                                            "toplang",
                                                            "bottomlang",
                                                            "quickview",
                                                            "page-header",
                                                            "path",
                                                            "up",
                                                            "top",
                                                            "headerlink",
                                                            "copiable-link",
                                                            "copiable-anchor",
                                                            "summary-letter",
                                                            "printindex",
                                                            "index-fn",
                                                            "index-cp",
                                                            "index-vr",
                                                            "shortcontents",
                                                            "chlinktop",
                                                            "chlinkbot",
                                                            "chlinkprevnexttop",
                                                            "chlinkprevnextbot",
                                                            "pagetoc",
                                                            "ContSect",
                                                            "indexterm",
                                                            "skip",
                                                            "toctree-wrapper",
                                                            "menu-comment",
                                                            "header"};

template <typename Set, typename Value> bool contains(const Set& set, const Value& value) {
    return std::find(set.begin(), set.end(), value) != set.end();
}

bool hasSkippedName(const GumboElement& element, const char* attribute) {
    const auto* found = gumbo_get_attribute(&element.attributes, attribute);
    std::string_view names = found ? found->value : "";
    while (!names.empty()) {
        const auto end = std::min(names.find(' '), names.size());
        if (contains(kSkippedNames, names.substr(0, end)))
            return true;
        names.remove_prefix(std::min(end + 1, names.size()));
    }
    return false;
}

bool isSkipped(const GumboElement& element) {
    if (contains(kSkippedTags, element.tag))
        return true;
    const auto* role = gumbo_get_attribute(&element.attributes, "role");
    if (role && std::string_view(role->value) == "navigation")
        return true;
    return element.tag != GUMBO_TAG_BODY && (hasSkippedName(element, "class") || hasSkippedName(element, "id"));
}

class Renderer {
public:
    void node(const GumboNode& node);
    [[nodiscard]] std::string take() { return std::move(m_out); }

private:
    void element(const GumboElement& element);
    void children(const GumboElement& element);
    void text(std::string_view text);
    /// The next text begins `lines` line ends further down.
    void breakLines(int lines) {
        m_breaks = std::max(m_breaks, lines);
        m_space = false;
    }
    void put(std::string_view text) {
        if (!m_out.empty())
            m_out.append(static_cast<std::size_t>(std::exchange(m_breaks, 0)), '\n');
        m_breaks = 0;
        m_out += std::exchange(m_mark, {});
        m_out += text;
    }

    std::string m_out;
    std::string m_mark; // “- ” or “ | ”, due before the next text
    int m_breaks = 0;
    bool m_space = false;                  // white space is due before the next word
    int m_pre = 0, m_cell = 0, m_item = 0; // how many of these elements are open
};

void Renderer::node(const GumboNode& node) {
    if (node.type == GUMBO_NODE_TEXT || node.type == GUMBO_NODE_WHITESPACE || node.type == GUMBO_NODE_CDATA)
        text(node.v.text.text);
    else if (node.type == GUMBO_NODE_ELEMENT && !isSkipped(node.v.element))
        element(node.v.element);
}

void Renderer::children(const GumboElement& element) {
    for (unsigned i = 0; i < element.children.length; ++i)
        node(*static_cast<const GumboNode*>(element.children.data[i]));
}

void Renderer::element(const GumboElement& element) {
    const auto tag = element.tag;
    const bool cell = tag == GUMBO_TAG_TD || tag == GUMBO_TAG_TH;
    const bool pre = tag == GUMBO_TAG_PRE;
    const bool block = contains(kBlockTags, tag) && (m_cell == 0 || pre);
    const bool line = contains(kLineTags, tag) && (m_cell == 0 || tag == GUMBO_TAG_BR);
    const int around = m_item > 0 && (tag == GUMBO_TAG_P || tag == GUMBO_TAG_DIV) ? 1 : 2;
    if (block || line)
        breakLines(block ? around : 1);
    else if (contains(kBlockTags, tag) || contains(kLineTags, tag))
        m_space = true; // inside a table's cell everything stays on one line
    if (tag == GUMBO_TAG_LI && m_cell == 0)
        m_mark = "- ";
    if (tag == GUMBO_TAG_DD && m_cell == 0)
        m_mark = "  ";
    if (cell && m_breaks == 0 && m_cell == 0)
        m_mark = " | ";
    const bool item = tag == GUMBO_TAG_LI;
    m_cell += cell;
    m_pre += pre;
    m_item += item;
    children(element);
    m_item -= item;
    m_pre -= pre;
    m_cell -= cell;
    if (block || line)
        breakLines(block ? around : 1);
}

void Renderer::text(std::string_view text) {
    if (m_pre > 0) {
        if (m_out.empty() || m_breaks > 0)
            text.remove_prefix(std::min(text.find_first_not_of('\n'), text.size()));
        if (!text.empty())
            put(text);
        return;
    }
    constexpr const char* kBlank = " \t\r\n\f";
    while (!text.empty()) {
        const auto word = text.find_first_not_of(kBlank);
        m_space = m_space || word > 0;
        if (word == std::string_view::npos)
            return;
        const auto end = std::min(text.find_first_of(kBlank, word), text.size());
        const bool first = m_out.empty() || m_breaks > 0 || !m_mark.empty();
        const auto letters = text.substr(word, end - word);
        const bool wrapped =
            text.find('\n') < word && endsWide(m_out) && beginsWide(letters); // a line break in Chinese is no space
        put(m_space && !first && !wrapped ? " " + std::string(letters) : std::string(letters));
        m_space = false;
        text.remove_prefix(end);
    }
}

struct FreeOutput {
    void operator()(GumboOutput* output) const { gumbo_destroy_output(&kGumboDefaultOptions, output); }
};

} // namespace

std::string htmlToText(std::string_view html) {
    const std::unique_ptr<GumboOutput, FreeOutput> parsed(
        gumbo_parse_with_options(&kGumboDefaultOptions, html.data(), html.size()));
    Renderer renderer;
    renderer.node(*parsed->root);
    return tidy(renderer.take());
}

} // namespace telehelm::data
